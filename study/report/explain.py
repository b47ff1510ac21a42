"""A search space in words before it costs a trial: what it asks, and what a report will be able to say from it.

Every threshold is the one at which the report's own statistics begin to speak.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drft.config.trial_config import SplitConfig
from study.analysis import Withheld, depth_design, detectable_difference, proportion
from study.analysis.best_of_k import MIN_TRIALS as PER_DEPTH
from study.analysis.best_of_k import fair_k
from study.analysis.estimators.agreement import MIN_TRIALS as FOR_EARLY
from study.analysis.estimators.intervals import MIN_FOR_BOOTSTRAP, MIN_FOR_T
from study.analysis.importance import MIN_TRIALS as FOR_IMPORTANCE
from study.analysis.label_errors import MIN_IMAGES as FOR_SUSPECTS
from study.analysis.label_errors import MIN_TRIALS as GRADERS
from study.analysis.overtuning import MIN_IMAGES as FOR_OVERTUNING
from study.analysis.pruning import MIN_CONTROL
from study.analysis.selection import MIN_IMAGES as FOR_SELECTION
from study.analysis.somers_d import MIN_TRIALS as FOR_TAU
from study.analysis.survival import MIN_TRIALS as FOR_SURVIVAL
from study.report.wording import interval, percent, points
from study.space import BoundSpace, Dimension, Space
from study.space.seeds import CONTROL_EVERY

_DISCORDANCES = (0.2, 0.3, 0.4)
_EXAMPLE = 0.6
_MIN_DISCORDANT = 10
"""Discordant images below which the equation for a detectable difference does not hold."""

_ENOUGH = 3
"""Trials for each that has to be completed with which there are enough even where most are pruned."""


class Question(NamedTuple):
    """Something a report can answer, and what that takes."""

    asks: str
    needs: str
    answered: str
    """Whether the planned study will have it: begins with ``yes`` or ``no``."""


class Explanation(NamedTuple):
    """A search space in words."""

    varies: tuple[Dimension, ...]
    holds: tuple[str, ...]
    questions: tuple[Question, ...]
    noise: tuple[str, ...]
    """What differences the validation images can show."""
    n_validation: int


def explain(space: Space, bound: BoundSpace | None, trials: int, images: int) -> Explanation:
    """Say what a space varies and holds, and what a report will be able to conclude.

    Args:
        space: as its file says it.
        bound: the same on a backbone, which tells how many depths there are; None where none was named.
        trials: how many trials the study shall have.
        images: how many there are to train and validate with.
    """
    n_validation = round(images * _share(space))
    dimensions = (bound or space).dimensions
    questions = (
        *_of_settings(len(dimensions), trials),
        *_of_depth(space, dimensions, trials),
        *_of_peaks(trials),
        _needing_trials(
            "What did pruning cost?",
            f"{MIN_CONTROL} completed trials of the control arm, one trial in {CONTROL_EVERY}",
            MIN_CONTROL * CONTROL_EVERY,
            trials,
        ),
        *_of_images(trials, n_validation),
    )
    return Explanation(
        dimensions, tuple(map(str, space.fixed)), tuple(questions), tuple(_noise(n_validation)), n_validation
    )


def _share(space: Space) -> float:
    """Return the share of the images that validates."""
    fixed = {setting.path: setting.value for setting in space.fixed}
    if folds := fixed.get("split.folds"):
        return 1 / float(folds) if fixed.get("split.fold", 0) is not None else 1.0
    return float(fixed.get("split.validation_fraction", SplitConfig().validation_fraction))


def _of_settings(dimensions: int, trials: int) -> Iterator[Question]:
    needing = {
        "Which settings set the best trials apart (PED-ANOVA)?": FOR_IMPORTANCE["ped-anova"],
        "Which settings explain the spread (fANOVA)?": FOR_IMPORTANCE["fanova"],
    }
    for asks, least in needing.items():
        question = _needing_trials(asks, f"{least} completed trials, 2 settings", least, trials)
        yield question if dimensions > 1 else question._replace(answered="no: the space varies one setting")
    asks = "Does the gap grow with a setting (Kendall's tau)?"
    yield _needing_trials(asks, f"{FOR_TAU} completed trials", FOR_TAU, trials)


def _of_depth(space: Space, dimensions: Sequence[Dimension], trials: int) -> Iterator[Question]:
    depths = _depths(dimensions)
    yield _by_depth("How does the gap differ by depth?", MIN_FOR_T, "completed trials", depths, trials)
    bought = _by_depth("What does depth buy, at equal n?", PER_DEPTH, "trials", depths, trials)
    uneven = isinstance(depth_design(space.text, "tpe", 0), Withheld)
    if bought.answered.startswith("no"):
        yield bought
    elif uneven:
        yield bought._replace(answered="no with --sampler tpe, which favours depths; with --sampler random, or isolate")
    elif depths:
        k = fair_k(trials // depths)
        yield bought._replace(answered=f"yes: {trials // depths} trials at each depth, their best of {k} compared")
    else:
        yield bought


def _depths(dimensions: Sequence[Dimension]) -> int | None:
    """Return how many depths are searched, those of each backbone: 1 where none is, None where that is not known."""
    domains = {dimension.path: dimension.domain for dimension in dimensions}
    backbones = len(domains["backbone.name"].values() or ()) if "backbone.name" in domains else 1
    domain = domains.get("depth", domains.get("depth_fraction"))
    if domain is None:
        return backbones
    values = domain.values() if domain.resolved(0) == domain else None
    return None if values is None else len(values) * backbones


def _by_depth(asks: str, least: int, what: str, depths: int | None, trials: int) -> Question:
    needs = f"{least} {what} at each depth"
    if depths is None:
        return Question(asks, needs, "depends on the number of depths: name a --backbone, or give a step")
    if depths == 1:
        return Question(asks, needs, "no: the space has one depth")
    return _needing_trials(asks, f"{needs}: {least * depths} at {depths} depths", least * depths, trials)


def _of_peaks(trials: int) -> Iterator[Question]:
    asks = "When does validation peak (Kaplan-Meier)?"
    yield _needing_trials(asks, f"{FOR_SURVIVAL} trials, pruned or not", FOR_SURVIVAL, trials)
    asks = "How early can one tell (Kendall's tau)?"
    yield _needing_trials(asks, f"{FOR_EARLY} completed trials", FOR_EARLY, trials)
    asks = "What does the best epoch save over the last?"
    yield _needing_trials(asks, f"{MIN_FOR_BOOTSTRAP} completed trials", MIN_FOR_BOOTSTRAP, trials)


def _of_images(trials: int, n_validation: int) -> Iterator[Question]:
    asks = "How much does the choice of the best flatter?"
    yield _needing_images(asks, FOR_SELECTION, n_validation)
    yield _needing_images("Did searching on do harm (overtuning)?", FOR_OVERTUNING, n_validation)
    suspects = _needing_images("Which labels are suspect?", FOR_SUSPECTS, n_validation)
    suspects = suspects._replace(needs=f"{GRADERS} completed trials, {suspects.needs}")
    short = suspects._replace(answered=f"no: {GRADERS - trials} trials short")
    yield short if trials < GRADERS else suspects


def _needing_trials(asks: str, needs: str, least: int, trials: int) -> Question:
    if trials < least:
        return Question(asks, needs, f"no: {least - trials} trials short")
    return Question(asks, needs, "yes" if trials >= _ENOUGH * least else "yes, unless too many are pruned")


def _needing_images(asks: str, least: int, n_validation: int) -> Question:
    short = f"no: {least - n_validation} images short"
    return Question(asks, f"{least} validation images", "yes" if n_validation >= least else short)


def _noise(n_validation: int) -> Iterator[str]:
    """Say how far off an accuracy may be, and what difference of two trials shows."""
    if not n_validation:
        yield "There is no image to validate with."
        return
    example = proportion(round(_EXAMPLE * n_validation), n_validation)
    yield f"An accuracy of {percent(example.value)} would be measured with a {interval(example)} images."
    told = [q for q in _DISCORDANCES if q * n_validation > _MIN_DISCORDANT]
    for q in told:
        found = points(detectable_difference(n_validation, q))
        yield f"Two trials of which just one is right on {q:.0%} of them can be told apart from {found} on."
    if not told:
        yield "So few cannot tell two trials apart, whatever the difference that is likely."
