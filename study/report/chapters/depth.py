"""What training deeper gains, by the trials of the search."""

from collections.abc import Sequence

from study.analysis import DepthRow, Statistics, Withheld
from study.analysis.backbones import BackboneRow
from study.analysis.best_of_k import EqualDepths
from study.analysis.floor import FloorScores
from study.analysis.generalization_gap import Gaps
from study.analysis.history import TrialPoint
from study.analysis.verdict import Verdict
from study.report import figures
from study.report.chapters.curves import search_curves
from study.report.chapters.parts import Chapter, Pair, Part, Table, Text, make_figure
from study.report.tables import BACKBONE_HEADINGS, DEPTH_HEADINGS, backbone_rows, depth_rows
from study.report.wording import between, kappa, p_value, percent, plus_minus, points, without_empty_kappa
from study.results.finalists_plan import UNTUNED, read_finalists
from study.results.study_results import StudyResults
from study.space.settings import get_setting

_TABLE_CAPTION = (
    "Completed trials by depth. Accuracies in percent and gaps in points: mean ± half the 95% t interval over trials."
)
_BACKBONES_CAPTION = (
    "Completed trials by backbone. An adaptive sampler does not try all backbones equally often, and the best of more "
    "trials is higher by chance alone. Accuracies in percent, gaps in points: mean ± half the 95% t interval."
)
_GAP_HEADINGS = ("depth", "n", "loss, best epoch", "loss, last epoch", "QWK, best epoch", "QWK, last epoch")
_GAP_CAPTION = (
    "The gap in loss (validation minus train, in nats) and in quadratic weighted kappa (train minus validation): mean "
    "± half the 95% t interval over completed trials."
)
_LOSS_GAP_CAPTION = (
    "The gap in loss (validation minus train, in nats): mean ± half the 95% t interval over completed trials."
)


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the table of depths and their comparison at equal numbers; with a verdict, all figures of the search too."""
    verdict = statistics.verdict
    of_search: tuple[Part, ...] = ()
    if not isinstance(verdict, Withheld):
        curves = search_curves("search-curves", statistics)
        of_search = (_settings(results, verdict), search_by_depth(results, statistics), curves)
    parts = (
        *_backbones(statistics.backbones),
        *of_search,
        Text(_floor_text(statistics.floor)),
        _table(statistics.depths, results),
        make_figure(
            "equal-depths",
            "Depths at equal numbers of trials",
            statistics.equal_depths,
            figures.best_of_k,
            _equal_caption,
        ),
        _gaps_table(statistics.gaps),
    )
    return Chapter("depth", "Depth", "What training deeper gains in the search", parts)


def search_by_depth(results: StudyResults, statistics: Statistics) -> Pair:
    """Return accuracy and gap of the search's trials at each depth."""
    depths, history = statistics.depths, statistics.history
    both: tuple[tuple[DepthRow, ...], tuple[TrialPoint, ...]] | Withheld
    if isinstance(depths, Withheld):
        both = depths
    elif isinstance(history, Withheld):
        both = history
    else:
        trials = set(results.of_best_backbone(results.trials)["number"])
        both = depths, tuple(point for point in history if point.number in trials)
    return Pair(
        make_figure(
            "depth",
            "Accuracy at each depth",
            both,
            lambda b: figures.accuracy_by_depth(*b, statistics.floor),
            lambda b: _accuracy_caption(b[0]),
        ),
        make_figure("gap", "The gap at each depth", depths, figures.gap_by_depth, _gap_caption),
    )


def _settings(results: StudyResults, verdict: Verdict) -> Part:
    """Return the searched settings of the recommended depth beside those of the untuned configuration."""
    finalists = read_finalists(results)
    assert finalists is not None
    plan = finalists.plan.finalists
    chosen = next(finalist.config for finalist in plan if finalist.depth == verdict.recommended_depth)
    untuned = next(finalist.config for finalist in plan if finalist.name == UNTUNED)
    rows = []
    for path in results.info.dimensions:
        values = [get_setting(config, path) for config in (chosen, untuned)]
        rows.append((path, *(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)))
    caption = (
        "The settings of the recommended depth, by their paths in the configuration, and those of the untuned "
        "configuration. All trials together expect the best score of them at this depth."
    )
    return Table("Recommended settings", caption, ("setting", "recommended", "untuned"), rows)


def _backbones(rows: tuple[BackboneRow, ...] | Withheld) -> tuple[Part, ...]:
    """Return the table of backbones; empty for a study with one backbone."""
    if isinstance(rows, Withheld):
        return ()
    return (Table("Table by backbone", _BACKBONES_CAPTION, BACKBONE_HEADINGS, backbone_rows(rows)),)


def _table(depths: tuple[DepthRow, ...] | Withheld, results: StudyResults) -> Part:
    if isinstance(depths, Withheld):
        return Text(f"The table by depth is not shown: {depths.reason}.")
    trials = results.of_best_backbone(results.trials)
    pruned = trials.loc[trials["state"] == "PRUNED", "depth"].dropna().astype(int).value_counts().sort_index()
    shown = {row.depth for row in depths}
    without = [f"depth {depth} ({count} pruned)" for depth, count in pruned.items() if depth not in shown]
    caption = f"{_TABLE_CAPTION} Without a completed trial: {', '.join(without)}." if without else _TABLE_CAPTION
    return Table("Table by depth", caption, DEPTH_HEADINGS, depth_rows(depths))


def _accuracy_caption(depths: tuple[DepthRow, ...]) -> str:
    counts = [row.n for row in depths]
    return (
        "Validation accuracy of every trial at its best epoch, and the best completed trial of each depth with its "
        f"95% Wilson interval. The depths have {min(counts)} to {max(counts)} completed trials: the best of more "
        "trials is higher by chance alone, and an adaptive sampler does not try all depths equally often."
    )


def _floor_text(floor: FloorScores | Withheld) -> str:
    if isinstance(floor, Withheld):
        return f"The floor, a linear model on frozen features, is not shown: {floor.reason}."
    agreement = "" if isinstance(floor.qwk, Withheld) else f", quadratic weighted kappa {kappa(floor.qwk)}"
    return (
        f"The floor is a linear model ({floor.model}) on the frozen features of {floor.backbone} at {floor.image_size} "
        f"pixels: {percent(floor.accuracy.value)} of {floor.n} training images ({between(floor.accuracy)}), balanced "
        f"accuracy {percent(floor.balanced_accuracy.value)} ({between(floor.balanced_accuracy)}){agreement}. "
        f"Each image was predicted by the model that was fitted on the other {floor.folds - 1} of {floor.folds} folds, "
        f"with its penalty chosen inside them, in {floor.seconds:.0f} s for all. A tuned fine-tuning should beat it. "
        "The best of many trials is "
        "optimistic, the floor is not."
    )


def _gap_caption(depths: tuple[DepthRow, ...]) -> str:
    first, last = depths[0], depths[-1]
    return (
        "Training minus validation accuracy, mean over the completed trials of each depth with 95% t interval. "
        f"At the best epoch the gap is {points(first.gap_best.value)} at depth {first.depth} and "
        f"{points(last.gap_best.value)} at depth {last.depth}; at the last epoch it is {points(first.gap_last.value)} "
        f"and {points(last.gap_last.value)}. Trials of one depth also differ in all other dimensions."
    )


def _equal_caption(equal: EqualDepths) -> str:
    clear, best = ", ".join(map(str, equal.clearly_worse)), equal.best
    worse = f"Clearly below depth {best}: depth {clear}." if clear else f"No depth is clearly below {best}."
    note = f" Note: {equal.note}." if equal.note else ""
    score = "score of a random trial" if equal.k == 1 else f"best score of {equal.k} random trials"
    return (
        f"Median {score} at each depth, with its exact 95% interval; "
        f"at least {min(row.n for row in equal.depths)} trials per depth. If depth made no difference, a spread this "
        f"wide would have p = {p_value(equal.p)} (permutation of depths over {equal.n} trials). {worse}{note}"
    )


def _gaps_table(gaps: Gaps | Withheld) -> Part:
    if isinstance(gaps, Withheld):
        return Text(f"Gaps in loss are not shown: {gaps.reason}.")
    rows: Sequence[Sequence[str]] = [
        (
            *(str(row.depth), str(row.n)),
            *(plus_minus(estimate, 1, 3) for estimate in (row.loss.best, row.loss.last)),
            *(("", "") if isinstance(row.qwk, Withheld) else (plus_minus(each, 1, 3) for each in row.qwk[:2])),
        )
        for row in gaps.by_depth
    ]
    headings, rows = without_empty_kappa(_GAP_HEADINGS, rows)
    if isinstance(gaps.qwk, Withheld):
        return Table("Gaps in loss by depth", _LOSS_GAP_CAPTION, headings, rows)
    return Table("Gaps in loss and kappa by depth", _GAP_CAPTION, headings, rows)
