"""What accuracy costs in seconds of training."""

from drft.config.trial_config import Metric
from study.analysis import Cost, CostPoint, DepthCost, Statistics, Withheld
from study.report import figures
from study.report.chapters.parts import Chapter, Part, Table, exhibit, wide
from study.report.wording import between, number, percent
from study.results.metric_names import displayed_score
from study.results.study_results import StudyResults

BY_DEPTH = ("depth", "n", "median seconds (95% interval)")

_FRONT_CAPTION = (
    "The Pareto front, quickest first: whoever wants a better score than one of these trials had to pay the seconds of "
    "a later one. Each is the best of many trials on these images, so its score is optimistic."
)
_BY_DEPTH_CAPTION = "Seconds of the completed trials of each depth; percentile bootstrap over trials."


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show scores against seconds, and the trials that no other one beats in both."""
    cost, metric = statistics.cost, results.info.metric
    title = "Validation score against seconds"
    front = exhibit("cost", title, cost, lambda c: wide(figures.cost_front(c, metric)), cost_text)
    tables: tuple[Part, ...] = () if isinstance(cost, Withheld) else _tables(cost, metric)
    return Chapter("cost", "Cost", "What accuracy costs", (front, *tables))


def cost_text(cost: Cost) -> str:
    """Say what the dots are, what the quickest and the best trial took, and what seconds depend on."""
    quickest, best = cost.front[0], cost.front[-1]
    where = (
        f"They ran on {len(cost.devices)} kinds of device ({', '.join(cost.devices)}), whose seconds do not compare. "
        if len(cost.devices) > 1
        else ""
    )
    return (
        f"Each point is one of {cost.n} completed trials at its best step; the large ones, joined by the dotted line, "
        "are the Pareto front: no other trial was both quicker and better. The best score on it, trial "
        f"{best.trial} at depth {best.depth}, took {number(best.seconds)} s ({percent(best.accuracy.value)} accuracy, "
        f"95% interval {between(best.accuracy)}), the quickest one, trial {quickest.trial} at depth {quickest.depth}, "
        f"{number(quickest.seconds)} s ({percent(quickest.accuracy.value)}, {between(quickest.accuracy)}). "
        f"{where}Seconds depend on the machine, on what ran beside, and on the cache, where {percent(cost.cached)} of "
        "the epochs found the work of their frozen blocks done by earlier trials. The best of many is optimistic."
    )


def _tables(cost: Cost, metric: Metric) -> tuple[Table, Table]:
    headings = ("trial", "depth", "seconds", f"validation {metric}", "accuracy (95% interval)")
    rows = [_front_row(point, metric) for point in cost.front]
    return (
        Table("Pareto front of score and seconds", _FRONT_CAPTION, headings, rows),
        Table("Seconds by depth", _BY_DEPTH_CAPTION, BY_DEPTH, [_depth_row(row) for row in cost.by_depth]),
    )


def _front_row(point: CostPoint, metric: Metric) -> tuple[str, ...]:
    accuracy = f"{percent(point.accuracy.value)} ({between(point.accuracy)})"
    return str(point.trial), str(point.depth), number(point.seconds), number(displayed_score(metric, point.score), 3), accuracy


def _depth_row(row: DepthCost) -> tuple[str, ...]:
    return str(row.depth), str(row.n), between(row.seconds, 1, value=True)
