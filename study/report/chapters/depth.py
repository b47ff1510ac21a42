"""What depth buys."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.analysis import BackboneRow, DepthRow, EqualDepths, Estimate, Gaps, Statistics, TrialPoint, Withheld
from study.report import figures
from study.report.chapters.parts import Chapter, Part, Table, Text, exhibit, wide
from study.report.tables import BACKBONE_HEADINGS, DEPTH_HEADINGS, backbone_rows, depth_rows
from study.report.wording import number, p_value
from study.results.study_results import StudyResults

_TABLE_CAPTION = (
    "Completed trials by depth. Accuracies in percent and gaps in points: mean ± half the 95% t interval over trials."
)


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the accuracy of each depth, and the table of depths."""
    depths, told = statistics.depths, _points(results, statistics.history)
    both = depths if isinstance(depths, Withheld) else told if isinstance(told, Withheld) else (depths, told)
    parts = (
        *_backbones(results, statistics.backbones),
        exhibit("depth", "Accuracy at each depth", both, _accuracy, _accuracy_caption),
        _table(depths),
        exhibit("equal-depths", "Depths at equal numbers of trials", statistics.equal_depths, _equal, _equal_caption),
        _gaps_table(statistics.gaps),
    )
    return Chapter("depth", "Depth", "What depth buys", parts)


def _points(results: StudyResults, told: tuple[TrialPoint, ...] | Withheld) -> tuple[TrialPoint, ...] | Withheld:
    """Return the trials of the backbone whose depths are shown."""
    if isinstance(told, Withheld):
        return told
    shown = set(results.of_best_backbone(results.trials)["number"])
    return tuple(point for point in told if point.number in shown)


def _backbones(results: StudyResults, rows: tuple[BackboneRow, ...] | Withheld) -> tuple[Part, ...]:
    """Return the table of backbones and whose depths follow; nothing where the study has one."""
    if isinstance(rows, Withheld):
        return ()
    best = results.of_best_backbone(results.complete)["backbone.name"].iloc[0]
    caption = (
        "Completed trials by backbone. A sampler that learns does not try all backbones equally, and the best of more "
        "trials is higher by luck alone. Accuracies in percent, gaps in points: mean ± half the 95% t interval."
    )
    text = (
        f"The study has {len(results.info.backbones)} backbones, and equally many blocks are another share of each. "
        f"What is said by depth here, and of the gap and the curves of each depth, is said of {best} alone, the "
        "backbone of the best trial."
    )
    return (Text(text), Table("Table by backbone", caption, BACKBONE_HEADINGS, backbone_rows(rows)))


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


def _equal(found: EqualDepths) -> Mapping[str, go.Figure]:
    return wide(figures.best_of_k(found))


def _equal_caption(found: EqualDepths) -> str:
    clear = [str(contrast.depth) for contrast in found.against_best if contrast.p <= 0.05]
    best = found.against_best[0].other
    worse = f"Clearly below depth {best}: depth {', '.join(clear)}." if clear else f"No depth is clearly below {best}."
    note = f" Note: {found.note}." if found.note else ""
    what = "score of a random trial" if found.k == 1 else f"best score of {found.k} random trials"
    return (
        f"Median {what} of each depth, with its exact 95% interval; "
        f"{min(row.n for row in found.depths)} trials or more per depth. That depth makes no difference would give a "
        f"spread this wide with p = {p_value(found.p)} (depths shuffled over {found.n} trials). {worse}{note}"
    )


_GAP_HEADINGS = ("depth", "n", "loss, best step", "loss, last step", "QWK, best step", "QWK, last step")
_GAP_CAPTION = (
    "The gap in loss (validation minus train, in nats) and in quadratic weighted kappa (train minus validation): mean "
    "± half the 95% t interval over completed trials."
)


def _gaps_table(gaps: Gaps | Withheld) -> Part:
    if isinstance(gaps, Withheld):
        return Text(f"Gaps in loss and kappa are not shown: {gaps.reason}.")
    rows = [
        (str(row.depth), str(row.n), *(_mean(at) for gap in (row.loss, row.qwk) for at in (gap.best, gap.last)))
        for row in gaps.by_depth
    ]
    return Table("Gaps in loss and kappa by depth", _GAP_CAPTION, _GAP_HEADINGS, rows)


def _mean(estimate: Estimate) -> str:
    middle = number(estimate.value, 3)
    if estimate.low is None or estimate.high is None:
        return middle
    return f"{middle} ± {number((estimate.high - estimate.low) / 2, 3)}"
