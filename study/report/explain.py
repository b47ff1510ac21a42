"""What a search space varies, and which questions a report on it will be able to answer.

The thresholds are those below which the report withholds the statistics.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drft.config.trial_config import SplitConfig
from study.analysis import Withheld, proportion
from study.analysis.best_of_k import MIN_TRIALS as PER_DEPTH
from study.analysis.best_of_k import fair_k
from study.analysis.design import depth_design
from study.analysis.estimators.agreement import MIN_TRIALS as FOR_EARLY
from study.analysis.estimators.intervals import MIN_FOR_BOOTSTRAP, MIN_FOR_T
from study.analysis.importance import MIN_TRIALS as FOR_IMPORTANCE
from study.analysis.label_errors import MIN_IMAGES as FOR_SUSPECTS
from study.analysis.label_errors import MIN_TRIALS as GRADERS
from study.analysis.noise import detectable_difference
from study.analysis.overtuning import MIN_IMAGES as FOR_OVERTUNING
from study.analysis.pruning import MIN_CONTROL
from study.analysis.selection import MIN_IMAGES as FOR_SELECTION
from study.analysis.somers_d import MIN_TRIALS as FOR_ASSOCIATION
from study.analysis.survival import MIN_TRIALS as FOR_SURVIVAL
from study.report.wording import interval, percent, points
from study.space import BoundSpace, Dimension, Space
from study.space.seeds import CONTROL_EVERY

_DISCORDANCES = (0.2, 0.3, 0.4)
_EXAMPLE = 0.6
_MIN_DISCORDANT = 10
"""Discordant images below which the equation for a detectable difference does not hold."""

_ENOUGH = 3
"""Planned trials per trial that must complete, so that enough complete even when most are pruned."""


class Question(NamedTuple):
    """A question that a report can answer."""

    question: str
    needs: str
    answer: str
    """Whether the planned study will answer it: begins with ``yes``, ``no`` or ``depends``."""


class Explanation(NamedTuple):
    """A search space in words."""

    varies: tuple[Dimension, ...]
    holds: tuple[str, ...]
    """The settings that the space fixes."""
    questions: tuple[Question, ...]
    noise: tuple[str, ...]
    """Which differences the validation images can show."""
    n_validation: int


def explain(space: Space, bound: BoundSpace | None, trials: int, images: int) -> Explanation:
    """Return what a space varies and fixes, and what a report will be able to conclude.

    Args:
        space: the space as its file defines it.
        bound: the same space bound to a backbone, which fixes the number of depths; None if no backbone is named.
        trials: planned trials.
        images: images to train and validate with.
    """
    fixed = {setting.path: setting.value for setting in space.fixed}
    share = float(fixed.get("split.validation_fraction", SplitConfig().validation_fraction))
    if folds := fixed.get("split.folds"):
        share = 1 / float(folds) if fixed.get("split.fold", 0) is not None else 1.0
    n_validation = round(images * share)
    dimensions = (bound or space).dimensions
    questions = (
        *_setting_questions(len(dimensions), trials),
        *_depth_questions(space, dimensions, trials),
        *_epoch_questions(trials),
        *_image_questions(trials, n_validation),
    )
    return Explanation(dimensions, tuple(map(str, space.fixed)), questions, tuple(_noise(n_validation)), n_validation)


def _setting_questions(dimensions: int, trials: int) -> Iterator[Question]:
    for question, least in (
        ("Which settings distinguish the best trials (PED-ANOVA)?", FOR_IMPORTANCE["ped-anova"]),
        ("Which settings explain the variance (fANOVA)?", FOR_IMPORTANCE["fanova"]),
    ):
        answered = _needing_trials(question, f"{least} completed trials, 2 settings", least, trials)
        yield answered if dimensions > 1 else answered._replace(answer="no: the space varies one setting")
    question = "Does the gap grow with a setting (Somers' D)?"
    yield _needing_trials(question, f"{FOR_ASSOCIATION} completed trials", FOR_ASSOCIATION, trials)


def _depth_questions(space: Space, dimensions: Sequence[Dimension], trials: int) -> Iterator[Question]:
    depths = _count_depths(dimensions)
    yield _by_depth("How does the gap differ by depth?", MIN_FOR_T, "completed trials", depths, trials)
    gain = _by_depth("What does training deeper gain, at equal n?", PER_DEPTH, "trials", depths, trials)
    if not gain.answer.startswith("no"):
        if isinstance(depth_design(space.text, ["tpe"], 0), Withheld):
            gain = gain._replace(
                answer="no with --sampler tpe, which favours depths; with --sampler random, or isolate"
            )
        elif depths:
            k = fair_k(trials // depths)
            gain = gain._replace(answer=f"yes: {trials // depths} trials at each depth, their best of {k} compared")
    yield gain


def _count_depths(dimensions: Sequence[Dimension]) -> int | None:
    """Return how many depths are searched, summed over backbones: 1 if depth is not searched, None if not known."""
    domains = {dimension.path: dimension.domain for dimension in dimensions}
    backbones = len(domains["backbone.name"].values() or ()) if "backbone.name" in domains else 1
    domain = domains.get("depth", domains.get("depth_fraction"))
    if domain is None:
        return backbones
    values = domain.values() if domain.resolve(0) == domain else None
    return None if values is None else len(values) * backbones


def _by_depth(question: str, least: int, unit: str, depths: int | None, trials: int) -> Question:
    needs = f"{least} {unit} at each depth"
    if depths is None:
        return Question(question, needs, "depends on the number of depths: name a --backbone, or give a step")
    if depths == 1:
        return Question(question, needs, "no: the space has one depth")
    return _needing_trials(question, f"{needs}: {least * depths} at {depths} depths", least * depths, trials)


def _epoch_questions(trials: int) -> Iterator[Question]:
    for question, least, unit in (
        ("When does validation peak (Kaplan-Meier)?", FOR_SURVIVAL, "trials, pruned or not"),
        ("How early can the best trials be recognized (Kendall's tau)?", FOR_EARLY, "completed trials"),
        ("What does the best epoch gain over the last?", MIN_FOR_BOOTSTRAP, "completed trials"),
    ):
        yield _needing_trials(question, f"{least} {unit}", least, trials)
    needs = f"{MIN_CONTROL} completed trials of the control arm, one trial in {CONTROL_EVERY}"
    yield _needing_trials("What did pruning cost?", needs, MIN_CONTROL * CONTROL_EVERY, trials)


def _image_questions(trials: int, n_validation: int) -> Iterator[Question]:
    yield _needing_images("How optimistic is the best score?", FOR_SELECTION, n_validation)
    yield _needing_images("Did a longer search do harm (overtuning)?", FOR_OVERTUNING, n_validation)
    suspects = _needing_images("Which labels are suspect?", FOR_SUSPECTS, n_validation)
    suspects = suspects._replace(needs=f"{GRADERS} completed trials, {suspects.needs}")
    yield suspects._replace(answer=f"no: {GRADERS - trials} trials short") if trials < GRADERS else suspects


def _needing_trials(question: str, needs: str, least: int, trials: int) -> Question:
    if trials < least:
        return Question(question, needs, f"no: {least - trials} trials short")
    return Question(question, needs, "yes" if trials >= _ENOUGH * least else "yes, unless too many are pruned")


def _needing_images(question: str, least: int, n_validation: int) -> Question:
    short = f"no: {least - n_validation} images short"
    return Question(question, f"{least} validation images", "yes" if n_validation >= least else short)


def _noise(n_validation: int) -> Iterator[str]:
    """Yield the precision of an accuracy, and the differences between two trials that can be shown."""
    if not n_validation:
        yield "There is no image to validate with."
        return
    example = proportion(round(_EXAMPLE * n_validation), n_validation)
    yield f"An accuracy of {percent(example.value)} would have a {interval(example)} images."
    shares = [share for share in _DISCORDANCES if share * n_validation > _MIN_DISCORDANT]
    for share in shares:
        difference = points(detectable_difference(n_validation, share))
        yield f"If one of two trials alone is right on {share:.0%} of them, differences from {difference} on are shown."
    if not shares:
        yield "So few images cannot distinguish two trials, whatever difference is likely."
