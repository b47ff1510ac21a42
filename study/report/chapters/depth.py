"""What depth buys."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.report import figures
from study.report.chapters.parts import Chapter, Part, Table, Text, exhibit, wide
from study.report.statistics import DepthRow, Statistics, TrialPoint, Withheld
from study.report.tables import DEPTH_HEADINGS, depth_rows
from study.results import StudyResults

_TABLE_CAPTION = (
    "Completed trials by depth. Accuracies in percent and gaps in points: mean ± half the 95% t interval over trials."
)


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the accuracy of each depth, and the table of depths."""
    depths, told = statistics.depths, statistics.history
    both = depths if isinstance(depths, Withheld) else told if isinstance(told, Withheld) else (depths, told)
    parts = (exhibit("depth", "Accuracy at each depth", both, _accuracy, _accuracy_caption), _table(depths))
    return Chapter("depth", "Depth", "What depth buys", parts)


def _table(depths: tuple[DepthRow, ...] | Withheld) -> Part:
    if isinstance(depths, Withheld):
        return Text(f"The table by depth is not shown: {depths.reason}.")
    return Table("Table by depth", _TABLE_CAPTION, DEPTH_HEADINGS, depth_rows(depths))


def _accuracy(both: tuple[tuple[DepthRow, ...], tuple[TrialPoint, ...]]) -> Mapping[str, go.Figure]:
    return wide(figures.accuracy_by_depth(*both))


def _accuracy_caption(both: tuple[tuple[DepthRow, ...], tuple[TrialPoint, ...]]) -> str:
    counts = [row.n for row in both[0]]
    return (
        "Validation accuracy of every trial at its best step, and the best completed one of each depth with its 95% "
        f"Wilson interval. The depths have {min(counts)} to {max(counts)} completed trials: the best of more trials "
        "is higher by luck alone, and a sampler that learns does not try all depths equally."
    )
