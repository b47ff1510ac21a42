"""The report on a study's soups and ensembles: as JSON, as Markdown and as lines for the terminal."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drft.config.trial_config import Metric
from study.analysis import Withheld
from study.report.disclaimer import DISCLAIMER
from study.report.json_csv import plain
from study.report.wording import between, escape_markdown, kappa, number, percent, points, without_empty_kappa
from study.soup.evaluator import InterpolationPoint
from study.soup.ingredients import LeftOut
from study.soup.scores import ScoredEnsemble

JSON, MARKDOWN = "soup.json", "soup.md"
SCHEMA = 1

HEADINGS = (
    *("model", "trials", "accuracy", "QWK", "NLL", "ECE (by chance)", "train", "gap"),
    *("accuracy minus best trial", "gap minus best trial", "cross-fitted gain"),
)
SHORT_HEADINGS = ("model", "accuracy", "gap", "cross-fitted gain")
TEMPERED = ("model", "temperature", "NLL", "NLL, scaled", "cross-fitted", "ECE", "ECE, scaled", "cross-fitted")

LIMITS = (
    (
        "Epochs, trials, soups, ensembles and temperatures were all chosen on the validation images on which they are "
        "scored: every figure here is optimistic, the best trial's own included."
    ),
    (
        "The cross-fitted gain is less optimistic: half of the images chooses the soup or ensemble and the best trial, "
        "the other half scores both. But epochs and trials were chosen on all of them."
    ),
    (
        "The soups of the papers share the initialization of all weights. Trials here share the pretrained backbone, "
        "but each initializes its own head, so their weights may be too far apart to be averaged."
    ),
    "WiSE-FT keeps the tuned head: the head after the head phase is not stored.",
    "In combined weights, batch-norm statistics that one of the trials changed are estimated again on training images.",
    "Only `drft-study confirm` scores soups and ensembles on images that were used for no choice.",
)


class SoupReport(NamedTuple):
    """The soups and ensembles of one study."""

    study: str
    metric: Metric
    trials: tuple[int, ...]
    """The trials that are combined, best first."""
    left_out: tuple[LeftOut, ...]
    judged: tuple[ScoredEnsemble, ...]
    """The best single trial first."""
    alphas: tuple[InterpolationPoint, ...]
    """The best trial between its tuned and its pretrained weights."""
    chosen: str
    """Name of the one whose weights are stored: the best on validation among those that are one network."""
    folds: int | None = None
    """Number of folds, if each trial is one training per fold; the networks of the last fold are combined."""


def json_text(report: SoupReport) -> str:
    """Return ``soup.json``: ``schema`` (1), the fields of :class:`SoupReport` and ``limits``."""
    content = {"schema": SCHEMA, **plain(report), "limits": list(LIMITS)}
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def markdown_text(report: SoupReport) -> str:
    """Return ``soup.md``."""
    alphas = [(f"{p.alpha:g}", percent(p.validation_accuracy), percent(p.train_accuracy)) for p in report.alphas]
    lines = [
        f"# Soups and ensembles of the best trials of {escape_markdown(report.study)}",
        "",
        f"> {DISCLAIMER}",
        "",
        *(f"{escape_markdown(line)}\n" for line in verdict(report)),
        "On the validation images, with 95% intervals:",
        "",
        *_table(*without_empty_kappa(HEADINGS, rows(report))),
        "",
        "With the temperature that fits best (the predicted classes stay the same):",
        "",
        *_table(TEMPERED, tempered_rows(report)),
        "",
        "The best trial between its tuned (1) and its pretrained (0) weights:",
        "",
        *_table(("alpha", "validation accuracy", "train accuracy"), alphas),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in LIMITS),
    ]
    return "\n".join(lines) + "\n"


def rows(report: SoupReport) -> list[tuple[str, ...]]:
    """Return one row of texts per soup or ensemble, in the order of ``HEADINGS``."""
    gain_scale = 100 if "accuracy" in report.metric else 1
    return [_row(scored, gain_scale) for scored in report.judged]


def short_rows(report: SoupReport) -> list[tuple[str, ...]]:
    """Return one row of texts per soup or ensemble, in the order of ``SHORT_HEADINGS``: they fit 80 columns."""
    table = []
    for row, scored in zip(rows(report), report.judged, strict=True):
        cells = dict(zip(HEADINGS, row, strict=True)) | {"gap": number(100 * scored.gap.value)}
        table.append(tuple(cells[name] for name in SHORT_HEADINGS))
    return table


def tempered_rows(report: SoupReport) -> list[tuple[str, ...]]:
    """Return one row of texts per soup or ensemble that has a temperature, in the order of ``TEMPERED``."""
    table: list[tuple[str, ...]] = []
    for scored in report.judged:
        scaled = scored.tempered
        if not isinstance(scaled, Withheld):
            nll, ece = scaled.nll_cross_fitted, scaled.ece_cross_fitted
            cells = (
                scored.recipe.name,
                between(scaled.degrees, 1, value=True),
                number(scored.nll.value, 3),
                number(scaled.nll.value, 3),
                "withheld" if isinstance(nll, Withheld) else number(nll.value, 3),
                "" if scored.ece is None else number(scored.ece, 3),
                number(scaled.ece, 3),
                "withheld" if ece is None else number(ece, 3),
            )
            table.append(cells)
    return table


def verdict(report: SoupReport) -> list[str]:
    """Return the conclusions as lines: the best trial, the gap, the cross-fitted gain and what was left out."""
    best, others = report.judged[0], report.judged[1:]
    trials = ", ".join(map(str, report.trials))
    lines = [
        (
            f"Trials {trials} are combined. The best of them is trial {best.recipe.trials[0]}: "
            f"validation accuracy {percent(best.accuracy.value)} ({between(best.accuracy)}), "
            f"gap {points(best.gap.value)} ({between(best.gap)})."
        ),
        " ".join(_gap_sentences(others)),
        _gain_sentence(others, report.metric),
    ]
    if report.chosen == "best trial":
        lines.append("Stored weights: the best trial, since no soup has a higher validation score.")
    else:
        lines.append(f"Stored weights: {report.chosen}, which has the highest validation score of a single network.")
    if report.folds is not None:
        lines.append(
            f"The trials have {report.folds} folds and are ranked by all of them; their checkpoints are those of the "
            "last one, and only its images are scored here."
        )
    return lines + [f"Left out: trial {trial.trial}, because {trial.reason}." for trial in report.left_out]


def _gap_sentences(others: Sequence[ScoredEnsemble]) -> Iterator[str]:
    """Yield a sentence for each soup or ensemble whose gap is smaller than that of the best trial, with its cost."""
    smaller = [
        (scored.recipe.name, scored.against)
        for scored in others
        if scored.against and (scored.against.gap.high or 0.0) < 0
    ]
    if not smaller:
        yield "No soup or ensemble has a gap that is clearly smaller than that of the best trial."
    for name, against in smaller:
        yield (
            f"The {name} changes the gap by {points(against.gap.value)} ({between(against.gap)}) and validation "
            f"accuracy by {points(against.accuracy.difference.value)}; the rest is a change of training accuracy."
        )


def _gain_sentence(others: Sequence[ScoredEnsemble], metric: Metric) -> str:
    gains = {scored.recipe.name: scored.against.cross_fitted for scored in others if scored.against}
    better = []
    for name, gain in gains.items():
        if isinstance(gain, Withheld):  # for few images, the gains of all are withheld for the same reason
            return f"The cross-fitted gain is withheld: {gain.reason}."
        if (gain.low or 0.0) > 0:
            better.append(name)
    conclusion = f"these have a clearly better {metric} than the best trial: {', '.join(better)}"
    if not better:
        conclusion = f"none has a clearly better {metric} than the best trial"
    return f"On images that were not used to choose them, {conclusion}."


def _row(scored: ScoredEnsemble, gain_scale: float) -> tuple[str, ...]:
    recipe, against = scored.recipe, scored.against
    differences = ("", "", "")
    if against is not None:
        gain = against.cross_fitted
        differences = (
            between(against.accuracy.difference, value=True),
            between(against.gap, value=True),
            "withheld" if isinstance(gain, Withheld) else between(gain, gain_scale, value=True),
        )
    return (
        recipe.name,
        " + ".join(map(str, recipe.trials)) + ("" if recipe.alpha is None else f", alpha {recipe.alpha:g}"),
        f"{percent(scored.accuracy.value)} ({between(scored.accuracy)})",
        kappa(scored.qwk),
        between(scored.nll, 1, value=True),
        "" if scored.ece is None else f"{scored.ece:.3f} ({scored.ece_by_chance:.3f})",
        percent(scored.train_accuracy.value),
        between(scored.gap, value=True),
        *differences,
    )


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    yield from (f"| {' | '.join(line)} |" for line in lines)
