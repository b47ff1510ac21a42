"""The chapters of a comparison."""

from collections.abc import Iterator, Mapping

import plotly.graph_objects as go

from study.analysis import Curve, DepthRow, Withheld
from study.compare.comparison import BestDifference, ComparedStudy, Comparison
from study.report import figures
from study.report.chapters import Chapter, Figure, FigurePair, Part, Table, Text
from study.report.chapters.parts import wide
from study.report.wording import between, number, percent, points

_BEST_HEADINGS = (
    *("study", "completed", "best trial", "depth", "depth fraction", "trainable share", "validation accuracy"),
    *("QWK", "gap, points", "best step"),
)
_BEST_CAPTION = (
    "The best completed trial of each study at its best step; accuracy with Wilson's 95% interval. The best of more "
    "trials is higher by luck alone."
)
_PAIR_HEADINGS = ("one", "other", "images", "only one right", "only other right", "difference, points", "p")
_PAIR_CAPTION = (
    "Accuracy of the best trial of one study minus that of the other on the same validation images: paired "
    "bootstrap over images, and McNemar's exact test. Both trials were chosen on these images."
)


def comparison_chapters(comparison: Comparison) -> tuple[Chapter, ...]:
    """Return the chapters of the page, and of the Markdown report."""
    return (
        Chapter("answer", "Answer", "The studies", tuple(_answer(comparison))),
        Chapter("curves", "Curves", "Training and validation, step by step", (_curves(comparison.sides),)),
        Chapter("depth", "Depth", "What depth buys and costs", (_depths(comparison.sides),)),
        Chapter("changes", "Differences", "What was different", (_changes(comparison),)),
    )


def against_text(against: BestDifference) -> str:
    """Say whether the best trials of two studies can be told apart."""
    paired = against.paired
    lead = f"{against.one} against {against.other}"
    if isinstance(paired, Withheld):
        return f"{lead}: no paired difference, since {paired.reason}."
    low, high = paired.difference.low, paired.difference.high
    sure = low is not None and high is not None and not low <= 0 <= high
    verdict = "more than chance explains" if sure and paired.p_value < 0.05 else "within what chance explains"
    return (
        f"{lead}: {points(paired.difference.value)} (95% interval {between(paired.difference)}, "
        f"n = {paired.n_images} images, McNemar p = {paired.p_value:.2g}), {verdict}."
    )


def _answer(comparison: Comparison) -> Iterator[Part]:
    for against in comparison.against:
        yield Text(against_text(against))
    rows = [_best_row(side) for side in comparison.sides]
    yield Table("The best trial of each study", _BEST_CAPTION, _BEST_HEADINGS, rows)
    pairs = [_pair_row(against) for against in comparison.against if not isinstance(against.paired, Withheld)]
    if pairs:
        yield Table("Paired differences", _PAIR_CAPTION, _PAIR_HEADINGS, pairs)


def _best_row(side: ComparedStudy) -> tuple[str, ...]:
    if isinstance(side.best, Withheld):
        return (side.name, "0", *("",) * (len(_BEST_HEADINGS) - 2))
    best = side.best
    return (
        side.name,
        str(side.completed),
        str(best.trial),
        str(best.depth),
        percent(best.depth_fraction),
        percent(best.trainable_fraction),
        f"{percent(best.accuracy.value)} ({between(best.accuracy)})",
        number(best.qwk, 2),
        number(100 * best.gap),
        f"{best.step} of {best.last_step}",
    )


def _pair_row(against: BestDifference) -> tuple[str, ...]:
    paired = against.paired
    assert not isinstance(paired, Withheld)
    counts = (str(paired.n_images), str(paired.only_one), str(paired.only_other))
    difference = between(paired.difference, value=True)
    return (against.one, against.other, *counts, difference, f"{paired.p_value:.2g}")


def _curves(sides: tuple[ComparedStudy, ...]) -> Figure:
    title = "All completed trials of each study"
    shown: dict[str, Curve] = {side.name: side.curve for side in sides if not isinstance(side.curve, Withheld)}
    if not shown:
        return Figure("curves", title, "Not shown: no trial has completed.")
    names, curves = list(shown), list(shown.values())
    drawings: Mapping[str, go.Figure] = {
        "wide": figures.curve_panels(curves, min(len(curves), 3), names),
        "narrow": figures.curve_panels(curves, 1, names),
    }
    ends = "; ".join(f"{name}: {_ends(curve)}" for name, curve in shown.items())
    caption = (
        "Median accuracy (line) and quartiles (band) over the completed trials of all depths: training dashed, "
        f"validation solid, on the same axes; the dotted line ends the head phase. {ends}. Pruned trials are not among "
        "them."
    )
    return Figure("curves", title, caption, drawings)


def _ends(curve: Curve) -> str:
    middles = [middle for _, middle, _ in curve.validation]
    peak = curve.steps[middles.index(max(middles))]
    ends = f"training ends at {percent(curve.train[-1][1])}, validation at {percent(curve.validation[-1][1])}"
    return f"{ends} after its peak at step {peak} of {curve.steps[-1]}"


def _depths(sides: tuple[ComparedStudy, ...]) -> Part:
    shown: dict[str, tuple[DepthRow, ...]] = {
        side.name: side.depths for side in sides if not isinstance(side.depths, Withheld)
    }
    if not shown:
        return Text("Not shown: no trial has completed.")
    caption = (
        "over the completed trials of each depth, with 95% t intervals. Depths are placed by the share of blocks they "
        "train, since backbones have different numbers of blocks; equal shares are not equal capacity. Trials of one "
        "depth differ in all other settings too."
    )
    return FigurePair(
        Figure(
            "accuracy-of-studies",
            "Validation accuracy at the best step",
            f"Mean {caption}",
            wide(figures.accuracy_of_studies(shown)),
        ),
        Figure(
            "gap-of-studies",
            "Gap at the last step",
            f"Training minus validation accuracy, mean {caption}",
            wide(figures.gap_of_studies(shown)),
        ),
    )


def _changes(comparison: Comparison) -> Part:
    if not comparison.changes:
        return Text("Nothing that is recorded differs: these studies had the same data, settings, search and versions.")
    caption = "Everything recorded that is not the same in all studies; a range or a list was searched, a value fixed."
    rows = [(change.what, *change.said) for change in comparison.changes]
    return Table("What was different", caption, ("what", *(side.name for side in comparison.sides)), rows)
