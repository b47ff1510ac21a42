"""Training time: what accuracy costs in seconds."""

from drft.config.trial_config import Metric
from study.analysis import Statistics, Withheld
from study.analysis.cost import Cost, CostPoint
from study.report import figures
from study.report.chapters.parts import Chapter, Part, Table, make_figure
from study.report.wording import between, number, percent
from study.results.metric_names import displayed_score
from study.results.study_results import StudyResults

BY_DEPTH = ("depth", "n", "median seconds (95% interval)")

_FRONT_CAPTION = (
    "The Pareto front, fastest trial first: no other trial is both faster and better than one of these. Each is the "
    "best of many trials on the same validation images, so its score is optimistic."
)
_BY_DEPTH_CAPTION = "Seconds of the completed trials at each depth, with percentile bootstrap intervals over trials."


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show scores against seconds, and the trials that no other trial beats in both."""
    cost, metric = statistics.cost, results.info.metric
    title = "Validation score against training time"
    parts: list[Part] = [make_figure("cost", title, cost, lambda c: figures.cost_front(c, metric), cost_text)]
    if not isinstance(cost, Withheld):
        headings = ("trial", "depth", "seconds", f"validation {metric}", "accuracy (95% interval)")
        front = [_front_row(point, metric) for point in cost.front]
        by_depth = [(str(row.depth), str(row.n), between(row.seconds, 1, value=True)) for row in cost.by_depth]
        parts.append(Table("Pareto front of score and seconds", _FRONT_CAPTION, headings, front))
        parts.append(Table("Seconds by depth", _BY_DEPTH_CAPTION, BY_DEPTH, by_depth))
    return Chapter("cost", "Cost", "What accuracy costs", parts)


def cost_text(cost: Cost) -> str:
    """Explain the points, and compare the fastest trial with the best one."""
    fastest, best = cost.front[0], cost.front[-1]
    devices = (
        f"The trials ran on {len(cost.devices)} kinds of device ({', '.join(cost.devices)}), whose seconds cannot be "
        "compared. "
        if len(cost.devices) > 1
        else ""
    )
    return (
        f"Each point is one of {cost.n} completed trials at its best epoch. The large points are the Pareto "
        "front: no other trial was both faster and better. The best score on it, trial "
        f"{best.trial} at depth {best.depth}, took {number(best.seconds)} s ({percent(best.accuracy.value)} accuracy, "
        f"95% interval {between(best.accuracy)}), the fastest one, trial {fastest.trial} at depth {fastest.depth}, "
        f"{number(fastest.seconds)} s ({percent(fastest.accuracy.value)}, {between(fastest.accuracy)}). "
        f"{devices}Seconds depend on the machine, on its other load and on the feature cache: "
        f"{percent(cost.cached)} of the epochs reused activations that earlier trials had computed. "
        "The best score of many trials is optimistic."
    )


def _front_row(point: CostPoint, metric: Metric) -> tuple[str, ...]:
    accuracy = f"{percent(point.accuracy.value)} ({between(point.accuracy)})"
    return (
        str(point.trial),
        str(point.depth),
        number(point.seconds),
        number(displayed_score(metric, point.score), 3),
        accuracy,
    )
