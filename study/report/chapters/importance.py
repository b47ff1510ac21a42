"""Which settings matter."""

from study.analysis import Statistics, Withheld
from study.analysis.importance import Importance
from study.analysis.somers_d import Association
from study.report import figures
from study.report.chapters.parts import Chapter, Pair, Part, Table, Text, make_figure
from study.report.wording import between, p_value, percent
from study.results.study_results import StudyResults

_HEADINGS = ("dimension", "held fixed", "n", "Somers' D (95% interval)", "p")
_FIXED = {"granulated": "everything else", "within depths": "depth", "plain": "nothing"}


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the importance of each dimension for scores and gaps, by two methods."""
    bars = figures.importance_bars
    best = Pair(
        make_figure(
            "score-importance", "What the best scores depend on", statistics.score_importance, bars, _ped_anova_caption
        ),
        make_figure(
            "gap-importance", "What the smallest gaps depend on", statistics.gap_importance, bars, _ped_anova_caption
        ),
    )
    spread = Pair(
        make_figure(
            "score-fanova", "What the spread of scores depends on", statistics.score_fanova, bars, _fanova_caption
        ),
        make_figure("gap-fanova", "What the spread of gaps depends on", statistics.gap_fanova, bars, _fanova_caption),
    )
    parts = (best, spread, _associations(statistics.gap_associations))
    return Chapter("importance", "Importance", "Which settings matter", parts)


def _ped_anova_caption(importance: Importance) -> str:
    goal = "the highest validation scores" if importance.target == "score" else "the smallest gaps at the last epoch"
    return (
        f"Which dimensions distinguish the {percent(importance.top)} of trials with {goal} from all "
        f"{importance.n} completed trials (PED-ANOVA). Grey bars are no longer than those of a dimension without any "
        f"influence in 95% of studies (scores shuffled). {_above_chance(importance)}"
    )


def _fanova_caption(importance: Importance) -> str:
    target = "the validation score" if importance.target == "score" else "the gap at the last epoch"
    left_out = f" Not in every trial, so not ranked: {', '.join(importance.left_out)}." if importance.left_out else ""
    return (
        f"Share of the variance of {target} over {importance.n} completed trials that each dimension explains by "
        "itself in random forests (fANOVA). The rest is interactions and noise. Grey bars are no longer than those of "
        f"a shuffled copy of the dimension in 95% of studies. {_above_chance(importance)}{left_out}"
    )


def _above_chance(importance: Importance) -> str:
    above = [bar.dimension for bar in importance.bars if bar.share > bar.chance]
    return f"Above chance: {', '.join(above)}." if above else "No dimension is above chance."


def _associations(associations: tuple[Association, ...] | Withheld) -> Part:
    if isinstance(associations, Withheld):
        return Text(f"Somers' D of the gap is not shown: {associations.reason}.")
    rows = [
        (
            row.dimension,
            _FIXED[row.kind],
            str(row.tau.n),
            between(row.tau, 1, value=True),
            "" if row.p is None else p_value(row.p),
        )
        for row in associations
    ]
    tested = (
        "There are no p-values, since the sampler used the scores."
        if associations[0].p is None
        else "P-values are adjusted for the number of dimensions (Holm)."
    )
    caption = (
        "Does the gap at the last epoch grow with a dimension? Somers' D over pairs of trials that differ in it: "
        f"1 if the higher value always has the wider gap, \N{MINUS SIGN}1 if it never has. {tested}"
    )
    return Table("Dimensions and the gap", caption, _HEADINGS, rows)
