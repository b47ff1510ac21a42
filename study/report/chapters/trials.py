"""All trials, in their order; the template adds the table in which each can be opened."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.analysis import Statistics, TrialPoint
from study.report import figures
from study.report.chapters.parts import Chapter, exhibit, wide
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show how the search went."""
    shown = exhibit("history", "Trials in their order", statistics.history, _history, _history_caption)
    return Chapter("trials", "Trials", "All trials", (shown,))


def _history(told: tuple[TrialPoint, ...]) -> Mapping[str, go.Figure]:
    return wide(figures.trial_history(told))


def _history_caption(told: tuple[TrialPoint, ...]) -> str:
    pruned = sum(point.state == "PRUNED" for point in told)
    return (
        f"Validation accuracy at the best step of {len(told) - pruned} completed and {pruned} pruned trials, in the "
        "order they were asked for, and the highest of the completed ones so far."
    )
