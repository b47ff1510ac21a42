"""Which settings decide."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.analysis import Association, Importance, Statistics, Withheld
from study.report import figures
from study.report.chapters.parts import Chapter, FigurePair, Part, Table, Text, exhibit, wide
from study.report.wording import number, p_value, percent
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show which dimensions set the best scores apart, and which the smallest gaps."""
    scores, gaps = statistics.score_importance, statistics.gap_importance
    pair = FigurePair(
        exhibit("score-importance", "What sets the best scores apart", scores, _bars, _bars_caption),
        exhibit("gap-importance", "What sets the smallest gaps apart", gaps, _bars, _bars_caption),
    )
    spread = FigurePair(
        exhibit("score-fanova", "What spreads the scores", statistics.score_fanova, _bars, _fanova_caption),
        exhibit("gap-fanova", "What spreads the gaps", statistics.gap_fanova, _bars, _fanova_caption),
    )
    parts = (pair, spread, _associations(statistics.gap_associations))
    return Chapter("importance", "Importance", "Which settings decide", parts)


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


def _fanova_caption(importance: Importance) -> str:
    what = "the validation score" if importance.target == "score" else "the gap at the last step"
    clear = [bar.dimension for bar in importance.bars if bar.share > bar.chance]
    found = f"Above chance: {', '.join(clear)}." if clear else "No dimension stands above chance."
    without = f" Not in every trial, so not ranked: {', '.join(importance.left_out)}." if importance.left_out else ""
    return (
        f"Share of the spread of {what} over {importance.n} completed trials that each dimension explains by itself, "
        "in random forests (fANOVA); the rest is interactions and noise. Grey bars are within what shuffled copies of "
        f"the dimension explain in 95% of studies. {found}{without}"
    )


_HEADINGS = ("dimension", "held still", "n", "tau (95% interval)", "p")
_HELD = {"granulated": "everything else", "within depths": "depth", "plain": "nothing"}


def _associations(found: tuple[Association, ...] | Withheld) -> Part:
    if isinstance(found, Withheld):
        return Text(f"Kendall's tau with the gap is not shown: {found.reason}.")
    rows = [
        (one.dimension, _HELD[one.kind], str(one.tau.n), _tau(one), "" if one.p is None else p_value(one.p))
        for one in found
    ]
    tested = (
        "No p-values, since the sampler looked at scores."
        if found[0].p is None
        else "P-values are adjusted for the number of dimensions (Holm)."
    )
    caption = (
        "Does the gap at the last step grow with a dimension? Kendall's tau over pairs of trials that differ in it: 1 "
        f"where the higher value always has the wider gap, \N{MINUS SIGN}1 where it never has. {tested}"
    )
    return Table("Dimensions and the gap", caption, _HEADINGS, rows)


def _tau(one: Association) -> str:
    if one.tau.low is None or one.tau.high is None:
        return number(one.tau.value, 2)
    return f"{number(one.tau.value, 2)} ({number(one.tau.low, 2)} to {number(one.tau.high, 2)})"
