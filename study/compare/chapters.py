"""The chapters of a comparison."""

from collections.abc import Iterator

from study.analysis import Curve, Estimate, Withheld
from study.compare.comparison import ComparedStudy, Comparison, StudyDifference
from study.report import figures
from study.report.chapters import Chapter, Figure, Pair, Part, Table, Text
from study.report.chapters.parts import make_figure
from study.report.wording import between, percent, points

_STUDIES_CAPTION = (
    "Of a study with a verdict: the depth that it recommends, the accuracy to expect of one training there, and that "
    "of the ensemble that it hands over. Of a study without one: its best trial, and the accuracy to expect of it, "
    "corrected for its selection (BBC, Tsamardinos et al. 2018). The score that selected it is not shown: the best of "
    "more trials is higher by chance alone. Floor: a linear model on frozen features, out of fold. With 95% intervals, "
    "each for itself."
)
_PAIR_HEADINGS = ("one", "other", "difference, points", "image by image")
_PAIR_CAPTION = (
    "Expected accuracy of one study minus that of the other, with 95% interval. Image by image: both were scored on "
    "the same images, and what is easy for both cancels out. The interval between two verdicts counts images and "
    "trainings as random. It is estimated from both studies together, so its middle may differ by some tenths from the "
    "difference of the accuracies above. Where the images differ, they count as independent."
)
_DEPTHS_CAPTION = (
    "over the completed trials of each depth, with 95% t intervals. The horizontal axis is the share of blocks "
    "trained, since backbones have different numbers of blocks; equal shares are not equal capacity. Of a study with "
    "several backbones, the trials with that of its best trial are shown. Trials of one depth also differ in all other "
    "settings."
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


def against_text(against: StudyDifference) -> str:
    """Return the difference between the expected accuracies of two studies, and whether chance explains it."""
    lead, difference = f"{against.one} against {against.other}", against.difference
    if isinstance(difference, Withheld):
        return f"{lead}: no difference is estimated, since {difference.reason}."
    low, high = difference.low, difference.high
    sure = low is not None and high is not None and not low <= 0 <= high
    how = f"image by image, n = {difference.n}" if against.unpaired is None else "not image by image"
    why = f"; {against.unpaired}" if against.unpaired else ""
    verdict = "more than chance explains" if sure else "within what chance explains"
    return f"{lead}: {points(difference.value)} (95% interval {between(difference)}, {how}), {verdict}{why}."


def side_by_side(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return headings and rows of the table of the studies: one column for each study."""
    columns = [_describe(side) for side in comparison.sides]
    rows = [(what, *(column[what] for column in columns)) for what in columns[0]]
    return ("study", *(side.name for side in comparison.sides)), rows


def _describe(side: ComparedStudy) -> dict[str, str]:
    """Return what is known of a study; an empty text where a study without a verdict has nothing to say."""
    verdict, best, expected = side.verdict, side.best, side.expected
    said = dict.fromkeys(("answer", "depth", "trained share of the parameters", "certain"), "")
    said["accuracy of one training"] = expected.reason if isinstance(expected, Withheld) else _accuracy(expected)
    said |= dict.fromkeys(("promise for the ensemble", "gap at the epoch kept", "gap at the last epoch"), "")
    if not isinstance(verdict, Withheld):
        chosen = next(row for row in verdict.by_depth if row.depth == verdict.recommended_depth)
        deepest, promise = verdict.by_depth[-1], verdict.promise
        within = f"within {100 * verdict.tolerance:g} points of the best depth: {chosen.probability_within:.0%}"
        said |= {
            "answer": "verdict",
            "depth": f"{chosen.depth} of {round(deepest.depth / deepest.depth_fraction)} blocks",
            "trained share of the parameters": percent(chosen.trainable_fraction),
            "certain": f"{'yes' if verdict.certain else 'no'} ({within})",
            "promise for the ensemble": f"{_accuracy(Estimate(*promise[:3], verdict.images))} of {promise.members}",
            "gap at the epoch kept": f"{between(verdict.gap, value=True)} points",
            "gap at the last epoch": f"{between(verdict.gap_last, value=True)} points",
        }
    elif isinstance(best, Withheld):
        said["answer"] = f"no verdict, {best.reason}"
    else:
        said |= {
            "answer": f"no verdict: trial {best.trial}, the best of {side.completed}",
            "depth": f"{best.depth} of {best.blocks} blocks",
            "trained share of the parameters": percent(best.trainable_fraction),
        }
    said["floor"] = "not computed" if isinstance(side.floor, Withheld) else _accuracy(side.floor.accuracy)
    return said | {"trainings": str(side.trainings)}


def _answer(comparison: Comparison) -> Iterator[Part]:
    for against in comparison.against:
        yield Text(against_text(against))
    yield Table("The studies side by side", _STUDIES_CAPTION, *side_by_side(comparison))
    pairs = [row for against in comparison.against if (row := _pair_row(against))]
    if pairs:
        yield Table("Differences in expected accuracy", _PAIR_CAPTION, _PAIR_HEADINGS, pairs)


def _accuracy(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} ({between(estimate)})"


def _pair_row(against: StudyDifference) -> tuple[str, ...]:
    """Return the row of a pair; empty if there is no difference."""
    difference = against.difference
    if isinstance(difference, Withheld):
        return ()
    how = f"yes, n = {difference.n}" if against.unpaired is None else f"no: {against.unpaired}"
    return (against.one, against.other, between(difference, value=True), how)


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
    if peak == curve.steps[-1]:
        return f"{ends}, its peak"
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
