"""The first screen: under the answer, the train and validation fan by depth and the gap by depth."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.analysis import Curve, DepthRow, Statistics
from study.report import figures
from study.report.chapters.parts import Chapter, Part, Text, exhibit, wide
from study.report.wording import percent, points
from study.results.metric_names import metric_name
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show what the three sentences speak of."""
    parts: tuple[Part, ...] = (
        *_goal(results),
        *_limit(results),
        exhibit("curves", "Training and validation, step by step", statistics.curves, _curves, _curves_caption),
        exhibit(
            "gap", "The gap at each depth", statistics.depths, lambda d: wide(figures.gap_by_depth(d)), _gap_caption
        ),
    )
    return Chapter("answer", "Answer", "The answer", parts)


def _goal(results: StudyResults) -> tuple[Text, ...]:
    """Say what "best" means, where it is not the accuracy of which the three sentences speak."""
    metric = results.info.metric
    if metric == "accuracy":
        return ()
    goal = f"the {'lowest' if metric == 'nll' else 'highest'} {metric_name(metric)}"
    return (Text(f"The best trial and the best step are those of {goal}; accuracies are what they reached."),)


def _limit(results: StudyResults) -> tuple[Text, ...]:
    """Say which trials can be the best, where the study limits the gap."""
    limit, n, within = results.info.max_gap, len(results.complete), len(results.eligible)
    if limit is None or not n:
        return ()
    words = f"Only trials with a gap of {points(limit)} or less at their best step can be best: {within} of {n} can."
    return (Text(words if within else f"{words} There is no best trial."),)


def _curves(curves: tuple[Curve, ...]) -> Mapping[str, go.Figure]:
    wide = figures.curve_panels(curves, columns=3 if len(curves) <= 6 else 4)
    return {"wide": wide, "narrow": figures.curve_panels(curves, columns=2)}


def _curves_caption(curves: tuple[Curve, ...]) -> str:
    deepest = curves[-1]
    shown = len(figures.evenly_spaced(curves))
    some = f" {shown} of {len(curves)} depths are shown." if shown < len(curves) else ""
    return (
        "Median accuracy (line) and quartiles (band) of the completed trials at each step, in evaluation mode on plain "
        "images: training dashed, validation solid; the dotted line ends the head phase. "
        f"At depth {deepest.depth} training ends at {percent(deepest.train[-1][1])}, while the median validation curve "
        f"is highest at step {_highest(deepest)} of {deepest.steps[-1]}. "
        f"Pruned trials are not among them, so the curves show the stronger trials.{some}"
    )


def _highest(curve: Curve) -> int:
    middles = [middle for _, middle, _ in curve.validation]
    return curve.steps[middles.index(max(middles))]


def _gap_caption(depths: tuple[DepthRow, ...]) -> str:
    first, last = depths[0], depths[-1]
    return (
        "Training minus validation accuracy, mean over the completed trials of each depth with 95% t interval. "
        f"At the best step it is {points(first.gap_best.value)} at depth {first.depth} and "
        f"{points(last.gap_best.value)} at depth {last.depth}; at the last step {points(first.gap_last.value)} and "
        f"{points(last.gap_last.value)}. Trials of one depth differ in all other dimensions too."
    )
