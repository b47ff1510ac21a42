"""What is said of the mixtures of a study: as JSON, as Markdown, and in lines for the terminal."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drft.config.trial_config import Metric
from study.analysis import Withheld
from study.report.disclaimer import DISCLAIMER
from study.report.json_csv import plain
from study.report.wording import between, number, percent, points
from study.soup.candidates import EnsembleRecipe
from study.soup.ingredients import LeftOut
from study.soup.predict import InterpolationPoint
from study.soup.score import ScoredEnsemble

JSON, MARKDOWN = "soup.json", "soup.md"
SCHEMA = 1

HEADINGS = (
    *("mixture", "made of", "accuracy", "QWK", "NLL", "ECE (by chance)", "train", "gap"),
    *("accuracy minus best trial", "gap minus best trial", "cross-fitted gain"),
)
TEMPERED = ("mixture", "temperature", "NLL", "NLL, cooled", "cross-fitted", "ECE", "ECE, cooled", "cross-fitted")

LIMITS = (
    (
        "Epochs, trials, mixtures and temperatures were all chosen on the validation images they are judged on: "
        "every figure here is optimistic, the best trial's own included."
    ),
    (
        "The cross-fitted gain is the exception, in part: half of the images chooses the mixture and the best "
        "trial, the other half scores both. That epochs and trials were chosen on all of them stays."
    ),
    (
        "The papers' soups share one initialization of everything. Trials here share the pretrained backbone, but each "
        "draws its own head: their weights may lie further apart than averaging allows."
    ),
    "WiSE-FT keeps the tuned head: the head that the head phase left is not stored.",
    "Of mixed weights, statistics of batch norms that a trial moved are estimated anew on training images.",
    "Only `drft-study confirm` says what a mixture is worth on images that chose nothing.",
)


class SoupReport(NamedTuple):
    """Everything that is said of the mixtures of one study."""

    study: str
    metric: Metric
    trials: tuple[int, ...]
    """What was put together, best first."""
    left_out: tuple[LeftOut, ...]
    judged: tuple[ScoredEnsemble, ...]
    """The best single trial first."""
    alphas: tuple[InterpolationPoint, ...]
    """The best trial between its tuned and its pretrained weights."""
    chosen: str
    """Name of the mixture whose weights are kept: the best on validation of those that are one network."""
    folds: int | None = None
    """Of a study whose trials are trained once for each fold: mixed is what the last fold's trainings left."""


def json_text(soups: SoupReport) -> str:
    """Return ``soup.json``: ``schema`` (1) and the fields of :class:`SoupReport`; estimates as in the report."""
    told = {"schema": SCHEMA, **plain(soups), "limits": list(LIMITS)}
    return json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def markdown_text(soups: SoupReport) -> str:
    """Return ``soup.md``."""
    lines = [f"# Mixtures of the best trials of {soups.study}", "", f"> {DISCLAIMER}", ""]
    lines += [f"{line}\n" for line in verdict(soups)]
    lines += ["On the validation images, with 95% intervals:", "", *_table(HEADINGS, rows(soups)), ""]
    lines += ["Cooled to the temperature that fits them best (their grades stay):", ""]
    lines += [*_table(TEMPERED, tempered_rows(soups)), "", "The best trial between tuned (1) and pretrained (0):", ""]
    alphas = [(f"{p.alpha:g}", percent(p.validation_accuracy), percent(p.train_accuracy)) for p in soups.alphas]
    lines += [*_table(("alpha", "validation accuracy", "train accuracy"), alphas), "", "## Limits", ""]
    return "\n".join([*lines, *(f"- {limit}" for limit in LIMITS)]) + "\n"


def rows(soups: SoupReport) -> list[tuple[str, ...]]:
    """Return one row of texts per mixture, in the order of ``HEADINGS``."""
    scale = 100 if "accuracy" in soups.metric else 1
    return [_row(one, scale) for one in soups.judged]


def tempered_rows(soups: SoupReport) -> list[tuple[str, ...]]:
    """Return one row of texts per mixture that has a temperature, in the order of ``TEMPERED``."""
    return [_tempered_row(one) for one in soups.judged if not isinstance(one.tempered, Withheld)]


def verdict(soups: SoupReport) -> list[str]:
    """Say whether the mixtures are better than the best trial, whether they close the gap, and what was left out."""
    best, others = soups.judged[0], soups.judged[1:]
    alone = (
        f"Of trials {', '.join(map(str, soups.trials))}: the best alone, trial {best.recipe.trials[0]}, has "
        f"{percent(best.accuracy.value)} validation accuracy ({between(best.accuracy)}) and a gap of "
        f"{points(best.gap.value)} ({between(best.gap)})."
    )
    return [
        alone,
        " ".join(_closing(others)),
        " ".join(_gaining(others, soups.metric)),
        _kept(soups),
        *_on_one_fold(soups.folds),
        *(f"Left out: trial {one.trial}, for {one.reason}." for one in soups.left_out),
    ]


def _kept(soups: SoupReport) -> str:
    if soups.chosen == "best trial":
        return "Kept as weights is the best trial itself: no mixture that is one network scores higher on validation."
    return f"Kept as weights is the {soups.chosen}: of those that are one network it scores highest on validation."


def _on_one_fold(folds: int | None) -> list[str]:
    if folds is None:
        return []
    ranked = f"The trials have {folds} folds and are ranked by all of them; "
    return [ranked + "their checkpoints are of the last one, whose images alone judge what is said here."]


def made_of(recipe: EnsembleRecipe) -> str:
    """Say what a mixture is made of."""
    alpha = "" if recipe.alpha is None else f", alpha {recipe.alpha:g}"
    return f"{' + '.join(map(str, recipe.trials))}{alpha}"


def _closing(others: Sequence[ScoredEnsemble]) -> Iterator[str]:
    """Say which mixtures have a smaller gap, and whether they only learn the training images less well."""
    closing = [one for one in others if one.against and (one.against.gap.high or 0.0) < 0]
    if not closing:
        yield "None of the mixtures has a gap that is clearly smaller than that of the best trial."
    for one in closing:
        assert one.against is not None
        gained = points(one.against.accuracy.difference.value)
        yield (
            f"The {one.recipe.name} changes the gap by {points(one.against.gap.value)} ({between(one.against.gap)}), "
            f"validation accuracy by {gained}; the rest is training accuracy."
        )


def _gaining(others: Sequence[ScoredEnsemble], metric: Metric) -> Iterator[str]:
    told = [(one.recipe.name, one.against.cross_fitted) for one in others if one.against]
    if isinstance(told[0][1], Withheld):
        yield f"What choosing is worth on other images is not said: {told[0][1].reason}."
        return
    better = [name for name, gain in told if not isinstance(gain, Withheld) and (gain.low or 0.0) > 0]
    if better:
        which = f"clearly better in {metric} than the best trial: {', '.join(better)}"
    else:
        which = f"none is clearly better in {metric} than the best trial"
    yield f"On images that did not choose them, {which}."


def _row(one: ScoredEnsemble, scale: float) -> tuple[str, ...]:
    ece = "" if one.ece is None else f"{one.ece:.3f} ({one.ece_by_chance:.3f})"
    return (
        one.recipe.name,
        made_of(one.recipe),
        f"{percent(one.accuracy.value)} ({between(one.accuracy)})",
        between(one.qwk, 1, value=True),
        between(one.nll, 1, value=True),
        ece,
        percent(one.train_accuracy.value),
        between(one.gap, value=True),
        *_against(one, scale),
    )


def _against(one: ScoredEnsemble, scale: float) -> tuple[str, str, str]:
    if one.against is None:
        return "", "", ""
    gain = one.against.cross_fitted
    return (
        between(one.against.accuracy.difference, value=True),
        between(one.against.gap, value=True),
        "withheld" if isinstance(gain, Withheld) else between(gain, scale, value=True),
    )


def _tempered_row(one: ScoredEnsemble) -> tuple[str, ...]:
    assert not isinstance(one.tempered, Withheld)
    cooled, fitted = one.tempered, one.tempered.nll_cross_fitted
    return (
        one.recipe.name,
        between(cooled.degrees, 1, value=True),
        number(one.nll.value, 3),
        number(cooled.nll.value, 3),
        "withheld" if isinstance(fitted, Withheld) else number(fitted.value, 3),
        "" if one.ece is None else number(one.ece, 3),
        number(cooled.ece, 3),
        "withheld" if cooled.ece_cross_fitted is None else number(cooled.ece_cross_fitted, 3),
    )


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    yield from (f"| {' | '.join(line)} |" for line in lines)
