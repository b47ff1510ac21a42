"""Which epoch to keep."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.report import figures
from study.report.chapters.parts import Chapter, Pair, exhibit, wide
from study.report.statistics import BestVersusLast, Peak, Statistics
from study.report.wording import interval, percent, points
from study.results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show when validation peaked, and what keeping that step saved."""
    pair = Pair(
        exhibit("peak", "When validation peaked", statistics.peak, _peak, _peak_caption),
        exhibit("saved", "The best step against the last", statistics.best_versus_last, _saved, _saved_caption),
    )
    return Chapter("peak", "Best epoch", "Which epoch to keep", (pair,))


def _peak(peak: Peak) -> Mapping[str, go.Figure]:
    return wide(figures.best_steps(peak))


def _peak_caption(peak: Peak) -> str:
    step = peak.best_step
    sure = "" if step.low is None or step.high is None else f" (95% interval {step.low:g} to {step.high:g})"
    return (
        f"Best step of each of {peak.n} completed trials; the dashed line is the median, step {step.value:g}{sure}. "
        f"{percent(peak.in_head_phase.value)} peaked in the head phase, before any block was trained. Pruned trials "
        "are left out: they were stopped while their peak may still have been ahead (censoring)."
    )


def _saved(compared: BestVersusLast) -> Mapping[str, go.Figure]:
    return wide(figures.best_versus_last(compared))


def _saved_caption(compared: BestVersusLast) -> str:
    return (
        "Each point is a completed trial; its height above the dotted diagonal is what keeping the best step saved. "
        f"On average {percent(compared.best.value)} at the best step against {percent(compared.last.value)} at the "
        f"last, {points(compared.difference.value)} more ({interval(compared.difference)}; paired bootstrap over "
        "trials). Picking the highest of several noisy measurements is part of it."
    )
