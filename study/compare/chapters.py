"""The chapters of a comparison."""

from collections.abc import Iterator

from study.analysis import Curve, Estimate, Withheld
from study.compare.comparison import BestDifference, ComparedStudy, Comparison
from study.report import figures
from study.report.chapters import Chapter, Figure, Pair, Part, Table, Text
from study.report.chapters.parts import make_figure
from study.report.wording import between, number, percent, points

_BEST_HEADINGS = (
    *("study", "completed", "best trial", "depth", "depth fraction", "trainable share", "validation accuracy"),
    *("floor", "QWK", "gap, points", "best epoch"),
)
_BEST_CAPTION = (
    "The best completed trial of each study at its best epoch; accuracy with Wilson's 95% interval. The best of more "
    "trials is higher by chance alone. Floor: a linear model on frozen features, out of fold over all training images."
)
_PAIR_HEADINGS = ("one", "other", "images", "only one right", "only other right", "difference, points", "p")
_PAIR_CAPTION = (
    "Accuracy of the best trial of one study minus that of the other on the same validation images: paired "
    "bootstrap over images, and McNemar's exact test. Both trials were selected on these images."
)
_DEPTHS_CAPTION = (
    "over the completed trials of each depth, with 95% t intervals. The horizontal axis is the share of blocks "
    "trained, since backbones have different numbers of blocks; equal shares are not equal capacity. Trials of one "
    "depth also differ in all other settings."
)
_CHANGES_CAPTION = "Everything recorded that differs. A range or a list was searched; a single value was fixed."


def comparison_chapters(comparison: Comparison) -> tuple[Chapter, ...]:
    """Return the chapters of the page and of the Markdown report."""
    sides = comparison.sides
    return (
        Chapter("answer", "Answer", "The studies", tuple(_answer(comparison))),
        Chapter("curves", "Curves", "Training and validation, epoch by epoch", (_curves(sides),)),
        Chapter("depth", "Depth", "What training deeper gains and costs", (_depths(sides),)),
        Chapter("changes", "Differences", "Differences between the studies", (_changes(comparison),)),
    )


def against_text(against: BestDifference) -> str:
    """Return the difference between the best trials of two studies, and whether it is more than chance explains."""
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
    floor = "" if isinstance(side.floor, Withheld) else _accuracy(side.floor.accuracy)
    if isinstance(side.best, Withheld):
        return (side.name, "0", *("",) * (len(_BEST_HEADINGS) - 6), floor, "", "", "")
    best = side.best
    return (
        side.name,
        str(side.completed),
        str(best.trial),
        str(best.depth),
        percent(best.depth_fraction),
        percent(best.trainable_fraction),
        _accuracy(best.accuracy),
        floor,
        number(best.qwk, 2),
        number(100 * best.gap),
        f"{best.step} of {best.last_step}",
    )


def _accuracy(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} ({between(estimate)})"


def _pair_row(against: BestDifference) -> tuple[str, ...]:
    paired = against.paired
    assert not isinstance(paired, Withheld)
    counts = (str(paired.n_images), str(paired.only_one), str(paired.only_other))
    difference = between(paired.difference, value=True)
    return (against.one, against.other, *counts, difference, f"{paired.p_value:.2g}")


def _curves(sides: tuple[ComparedStudy, ...]) -> Figure:
    shown = {side.name: side.curve for side in sides if not isinstance(side.curve, Withheld)}
    names, curves = list(shown), list(shown.values())
    return make_figure(
        "curves",
        "All completed trials of each study",
        shown or Withheld("no trial has completed"),
        lambda _: figures.curve_panels(curves, min(len(curves), 3), names),
        _curves_caption,
        draw_narrow=lambda _: figures.curve_panels(curves, 1, names),
    )


def _curves_caption(curves: dict[str, Curve]) -> str:
    ends = "; ".join(f"{name}: {_ends(curve)}" for name, curve in curves.items())
    return (
        "Median accuracy (line) and quartiles (band) over the completed trials of all depths, on the same axes. "
        f"Training is dashed, validation solid; the dotted line ends the head phase. {ends}. Pruned trials are not "
        "included."
    )


def _ends(curve: Curve) -> str:
    medians = [median for _, median, _ in curve.validation]
    peak = curve.steps[medians.index(max(medians))]
    ends = f"training ends at {percent(curve.train[-1][1])}, validation at {percent(curve.validation[-1][1])}"
    return f"{ends} after its peak at epoch {peak} of {curve.steps[-1]}"


def _depths(sides: tuple[ComparedStudy, ...]) -> Part:
    depths = {side.name: side.depths for side in sides if not isinstance(side.depths, Withheld)}
    if not depths:
        return Text("Not shown: no trial has completed.")
    return Pair(
        make_figure(
            "accuracy-of-studies",
            "Validation accuracy at the best epoch",
            depths,
            figures.accuracy_of_studies,
            lambda _: f"Mean {_DEPTHS_CAPTION}",
        ),
        make_figure(
            "gap-of-studies",
            "Gap at the last epoch",
            depths,
            figures.gap_of_studies,
            lambda _: f"Training minus validation accuracy, mean {_DEPTHS_CAPTION}",
        ),
    )


def _changes(comparison: Comparison) -> Part:
    if not comparison.changes:
        return Text("Nothing recorded differs: these studies had the same data, settings, search and versions.")
    rows = [(change.what, *change.said) for change in comparison.changes]
    headings = ("setting", *(side.name for side in comparison.sides))
    return Table("Differences between the studies", _CHANGES_CAPTION, headings, rows)
