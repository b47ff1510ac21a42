"""The first screen: below the answers, the curves by depth and the gap by depth."""

from study.analysis import Curve, DepthRow, Statistics
from study.report import figures
from study.report.chapters.parts import Chapter, Part, Text, make_figure
from study.report.wording import percent, points
from study.results.metric_names import metric_name
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the figures that the three answers rest on."""
    parts: tuple[Part, ...] = (
        *_goal(results),
        *_limit(results),
        make_figure(
            "curves",
            "Training and validation, epoch by epoch",
            statistics.curves,
            lambda curves: figures.curve_panels(curves, columns=3 if len(curves) <= 6 else 4),
            _curves_caption,
            draw_narrow=lambda curves: figures.curve_panels(curves, columns=2),
        ),
        make_figure("gap", "The gap at each depth", statistics.depths, figures.gap_by_depth, _gap_caption),
    )
    return Chapter("answer", "Answer", "The answer", parts)


def _goal(results: StudyResults) -> tuple[Text, ...]:
    """Define "best" when the metric is not accuracy, since the three answers are about accuracy."""
    metric = results.info.metric
    if metric == "accuracy":
        return ()
    goal = f"the {'lowest' if metric == 'nll' else 'highest'} {metric_name(metric)}"
    return (Text(f"The best trial and the best epoch are those with {goal}; accuracies are the ones they reached."),)


def _limit(results: StudyResults) -> tuple[Text, ...]:
    """State which trials can be the best when the study limits the gap."""
    limit, n, within = results.info.max_gap, len(results.complete), len(results.eligible)
    if limit is None or not n:
        return ()
    text = f"Only trials with a gap of {points(limit)} or less at their best epoch can be best: {within} of {n} can."
    return (Text(text if within else f"{text} There is no best trial."),)


def _curves_caption(curves: tuple[Curve, ...]) -> str:
    deepest, shown = curves[-1], len(figures.evenly_spaced(curves))
    medians = [median for _, median, _ in deepest.validation]
    some = f" {shown} of {len(curves)} depths are shown." if shown < len(curves) else ""
    return (
        "Median accuracy (line) and quartiles (band) of the completed trials at each epoch, in evaluation mode on "
        "plain images. Training is dashed, validation solid; the dotted line ends the head phase. At depth "
        f"{deepest.depth} training ends at {percent(deepest.train[-1][1])}, while the median validation curve is "
        f"highest at epoch {deepest.steps[medians.index(max(medians))]} of {deepest.steps[-1]}. Pruned trials are not "
        f"included, so the curves show the better trials.{some}"
    )


def _gap_caption(depths: tuple[DepthRow, ...]) -> str:
    first, last = depths[0], depths[-1]
    return (
        "Training minus validation accuracy, mean over the completed trials of each depth with 95% t interval. "
        f"At the best epoch the gap is {points(first.gap_best.value)} at depth {first.depth} and "
        f"{points(last.gap_best.value)} at depth {last.depth}; at the last epoch it is {points(first.gap_last.value)} "
        f"and {points(last.gap_last.value)}. Trials of one depth also differ in all other dimensions."
    )
