"""The first screen: below the answers, the curves by depth and the gap by depth."""

from study.analysis import Curve, DepthRow, Statistics, Withheld
from study.analysis.verdict import Verdict
from study.report import figures
from study.report.chapters.parts import Chapter, FigurePair, Part, Table, Text, make_figure
from study.report.wording import percent, points
from study.results.finalists_plan import UNTUNED, read_finalists
from study.results.metric_names import metric_name
from study.results.study_results import StudyResults
from study.space.settings import get_setting


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the figures that the three answers rest on."""
    parts: tuple[Part, ...] = (
        *_goal(results),
        *_limit(results),
        *_verdict(results, statistics.verdict),
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


def _verdict(results: StudyResults, verdict: Verdict | Withheld) -> tuple[Part, ...]:
    """Show accuracy and gap of the cross-validated depths, and the settings of the recommended one."""
    if isinstance(verdict, Withheld):
        reason = f"There is no verdict on depth: {verdict.reason}."
        return (Text(reason),) if results.info.goal == "depth" else ()
    pair = FigurePair(
        make_figure("verdict", "Accuracy by depth", verdict, figures.verdict_accuracy, _verdict_caption),
        make_figure("verdict-gap", "Gap by depth", verdict, figures.verdict_gap, _verdict_gap_caption),
    )
    return (pair, _recommended_settings(results, verdict))


def _recommended_settings(results: StudyResults, verdict: Verdict) -> Table:
    finalists = read_finalists(results)
    assert finalists is not None
    configs = {finalist.name: finalist.config for finalist in finalists.plan.finalists}
    chosen = next(
        finalist.config for finalist in finalists.plan.finalists if finalist.depth == verdict.recommended_depth
    )
    rows = [
        (path, _setting(get_setting(chosen, path)), _setting(get_setting(configs[UNTUNED], path)))
        for path in results.info.dimensions
    ]
    caption = (
        "The settings of the recommended depth, by their paths in the configuration, and those of the untuned "
        "configuration. All trials together expect the best score of them at this depth."
    )
    return Table("Recommended settings", caption, ("setting", "recommended", "untuned"), rows)


def _setting(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _verdict_caption(verdict: Verdict) -> str:
    return (
        f"Expected accuracy of one training on new images, out of fold over {verdict.images} images, smoothed over "
        "depth; the 95% intervals hold for all depths together. The diamond is the recommended depth: the shallowest "
        f"within {100 * verdict.tolerance:g} points of the best with probability {verdict.confidence:.0%}"
        + (". " if verdict.certain else "; none is, so the one with the smallest expected loss. ")
        + f"Trainings that differ in seed and fold alone differ by {points(verdict.training_sd)} (sd)."
    )


def _verdict_gap_caption(verdict: Verdict) -> str:
    first, last = verdict.by_depth[0], verdict.by_depth[-1]
    return (
        "Training minus validation accuracy of the same trainings, with 95% intervals for all depths together. At the "
        f"last epoch it is {points(first.gap_last.value)} at depth {first.depth} and {points(last.gap_last.value)} at "
        f"depth {last.depth}; at the epoch that is kept, chosen on the other folds, {points(first.gap.value)} and "
        f"{points(last.gap.value)}."
    )


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
