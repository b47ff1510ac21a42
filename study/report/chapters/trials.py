"""All trials in order. The template adds the table in which each trial can be opened."""

from study.analysis import Statistics
from study.analysis.history import TrialPoint
from study.report import figures
from study.report.chapters.parts import Chapter, make_figure
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the accuracy of all trials in order."""
    figure = make_figure("history", "Trials in order", statistics.history, figures.trial_history, _history_caption)
    return Chapter("trials", "Trials", "All trials", (figure,))


def _history_caption(history: tuple[TrialPoint, ...]) -> str:
    pruned = sum(point.state == "PRUNED" for point in history)
    return (
        f"Validation accuracy at the best epoch of {len(history) - pruned} completed and {pruned} pruned trials, in "
        "the order in which they were suggested, and the highest accuracy of the completed trials so far."
    )
