"""Which settings decide."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.report import figures
from study.report.chapters.parts import Chapter, Pair, exhibit, wide
from study.report.statistics import Importance, Statistics
from study.report.wording import percent
from study.results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show which dimensions set the best scores apart, and which the smallest gaps."""
    scores, gaps = statistics.score_importance, statistics.gap_importance
    pair = Pair(
        exhibit("score-importance", "What sets the best scores apart", scores, _bars, _bars_caption),
        exhibit("gap-importance", "What sets the smallest gaps apart", gaps, _bars, _bars_caption),
    )
    return Chapter("importance", "Importance", "Which settings decide", (pair,))


def _bars(importance: Importance) -> Mapping[str, go.Figure]:
    return wide(figures.importance_bars(importance))


def _bars_caption(importance: Importance) -> str:
    goal = "the highest validation scores" if importance.target == "score" else "the smallest gaps at the last step"
    clear = [bar.dimension for bar in importance.bars if bar.share > bar.chance]
    found = f"Above chance: {', '.join(clear)}." if clear else "No dimension stands above chance."
    return (
        f"Which dimensions set the {percent(importance.top)} of trials with {goal} apart from all "
        f"{importance.n} completed ones (PED-ANOVA). Grey bars are within what a dimension without any influence "
        f"reaches in 95% of studies (scores shuffled). {found}"
    )
