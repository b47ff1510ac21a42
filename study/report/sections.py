"""What the page shows: each figure with its title, its caption in words, or the reason why it is not drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import plotly.graph_objects as go

from study.report import figures
from study.report.statistics import (
    BestVersusLast,
    Curve,
    DepthRow,
    Importance,
    Noise,
    Peak,
    Statistics,
    TrialPoint,
    Withheld,
)
from study.report.wording import interval, percent, points

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One figure of the page; without ``drawings`` the caption is the reason."""

    id: str
    title: str
    caption: str
    drawings: Mapping[str, go.Figure] = field(default_factory=dict)
    """``wide`` and, where a phone needs another arrangement, ``narrow``."""


def exhibits(statistics: Statistics) -> dict[str, Exhibit]:
    """Draw all figures of a study, by id."""
    depths, told = statistics.depths, statistics.history
    both = depths if isinstance(depths, Withheld) else told if isinstance(told, Withheld) else (depths, told)
    drawn = (
        _exhibit("curves", "Training and validation, step by step", statistics.curves, _curves, _curves_caption),
        _exhibit("gap", "The gap at each depth", depths, lambda d: _wide(figures.gap_by_depth(d)), _gap_caption),
        _exhibit("peak", "When validation peaked", statistics.peak, _peak, _peak_caption),
        _exhibit("saved", "The best step against the last", statistics.best_versus_last, _saved, _saved_caption),
        _exhibit("depth", "Accuracy at each depth", both, _accuracy, _accuracy_caption),
        _exhibit(
            "score-importance", "What sets the best scores apart", statistics.score_importance, _bars, _bars_caption
        ),
        _exhibit(
            "gap-importance", "What sets the smallest gaps apart", statistics.gap_importance, _bars, _bars_caption
        ),
        _exhibit("history", "Trials in their order", told, _history, _history_caption),
    )
    return {exhibit.id: exhibit for exhibit in drawn}


def noise_text(noise: Noise | Withheld) -> str:
    """Say what differences the validation photographs can show."""
    if isinstance(noise, Withheld):
        return f"Not said, since {noise.reason}."
    source = "as counted from the stored predictions" if noise.discordance_measured else "as for independent errors"
    return (
        f"Validation accuracy is measured on {noise.n_images} photographs: one photograph is "
        f"{points(1 / noise.n_images)}, and the best trial's {percent(noise.best.value)} has a 95% interval of "
        f"{percent(noise.best.low or 0.0)} to {percent(noise.best.high or 1.0)} (Wilson). Of {noise.n_trials} "
        f"completed trials, {noise.within} lie inside it. Two trials that disagree on {percent(noise.discordance)} of "
        f"the photographs ({source}) must truly differ by {points(noise.detectable)} before a 5% test on these "
        "photographs finds it four times out of five (McNemar's test, Connor 1987). And the best of many is lucky by "
        "construction: its true accuracy is more likely below the figure than above."
    )


def _exhibit(
    name: str,
    title: str,
    statistic: T | Withheld,
    draw: Callable[[T], Mapping[str, go.Figure]],
    caption: Callable[[T], str],
) -> Exhibit:
    if isinstance(statistic, Withheld):
        return Exhibit(name, title, f"Not shown: {statistic.reason}.")
    return Exhibit(name, title, caption(statistic), draw(statistic))


def _wide(drawing: go.Figure) -> Mapping[str, go.Figure]:
    return {"wide": drawing}


def _curves(curves: tuple[Curve, ...]) -> Mapping[str, go.Figure]:
    wide = figures.curve_panels(curves, columns=3 if len(curves) <= 6 else 4)
    return {"wide": wide, "narrow": figures.curve_panels(curves, columns=2)}


def _curves_caption(curves: tuple[Curve, ...]) -> str:
    deepest = curves[-1]
    shown = len(figures.evenly_spaced(curves))
    some = f" {shown} of {len(curves)} depths are shown." if shown < len(curves) else ""
    return (
        "Median accuracy (line) and quartiles (band) of the completed trials at each step, in evaluation mode on plain "
        "pictures: training dashed, validation solid; the dotted line ends the head phase. "
        f"At depth {deepest.depth} training ends at {percent(deepest.train[-1][1])}, while the median validation curve "
        f"is highest at step {_highest(deepest)} of {deepest.steps[-1]}. "
        f"Pruned trials are not among them, so the curves show the stronger trials.{some}"
    )


def _highest(curve: Curve) -> int:
    middles = [middle for _, middle, _ in curve.validation]
    return curve.steps[middles.index(max(middles))]


def _gap_caption(depths: tuple[DepthRow, ...]) -> str:
    first, last = depths[0], depths[-1]
    return (
        "Training minus validation accuracy, mean over the completed trials of each depth with 95% t interval. "
        f"At the best step it is {points(first.gap_best.value)} at depth {first.depth} and "
        f"{points(last.gap_best.value)} at depth {last.depth}; at the last step {points(first.gap_last.value)} and "
        f"{points(last.gap_last.value)}. Trials of one depth differ in all other dimensions too."
    )


def _peak(peak: Peak) -> Mapping[str, go.Figure]:
    return _wide(figures.best_steps(peak))


def _peak_caption(peak: Peak) -> str:
    step = peak.best_step
    sure = "" if step.low is None or step.high is None else f" (95% interval {step.low:g} to {step.high:g})"
    return (
        f"Best step of each of {peak.n} completed trials; the dashed line is the median, step {step.value:g}{sure}. "
        f"{percent(peak.in_head_phase.value)} peaked in the head phase, before any block was trained. Pruned trials "
        "are left out: they were stopped while their peak may still have been ahead (censoring)."
    )


def _saved(compared: BestVersusLast) -> Mapping[str, go.Figure]:
    return _wide(figures.best_versus_last(compared))


def _saved_caption(compared: BestVersusLast) -> str:
    return (
        "Each point is a completed trial; its height above the dotted diagonal is what keeping the best step saved. "
        f"On average {percent(compared.best.value)} at the best step against {percent(compared.last.value)} at the "
        f"last, {points(compared.difference.value)} more ({interval(compared.difference)}; paired bootstrap over "
        "trials). Picking the highest of several noisy measurements is part of it."
    )


def _accuracy(both: tuple[tuple[DepthRow, ...], tuple[TrialPoint, ...]]) -> Mapping[str, go.Figure]:
    return _wide(figures.accuracy_by_depth(*both))


def _accuracy_caption(both: tuple[tuple[DepthRow, ...], tuple[TrialPoint, ...]]) -> str:
    counts = [row.n for row in both[0]]
    return (
        "Validation accuracy of every trial at its best step, and the best completed one of each depth with its 95% "
        f"Wilson interval. The depths have {min(counts)} to {max(counts)} completed trials: the best of more trials "
        "is higher by luck alone, and a sampler that learns does not try all depths equally."
    )


def _bars(importance: Importance) -> Mapping[str, go.Figure]:
    return _wide(figures.importance_bars(importance))


def _bars_caption(importance: Importance) -> str:
    goal = "the highest validation scores" if importance.target == "score" else "the smallest gaps at the last step"
    clear = [bar.dimension for bar in importance.bars if bar.share > bar.chance]
    found = f"Above chance: {', '.join(clear)}." if clear else "No dimension stands above chance."
    return (
        f"Which dimensions set the {percent(importance.top)} of trials with {goal} apart from all "
        f"{importance.n} completed ones (PED-ANOVA). Grey bars are within what a dimension without any influence "
        f"reaches in 95% of studies (scores shuffled). {found}"
    )


def _history(told: tuple[TrialPoint, ...]) -> Mapping[str, go.Figure]:
    return _wide(figures.trial_history(told))


def _history_caption(told: tuple[TrialPoint, ...]) -> str:
    pruned = sum(point.state == "PRUNED" for point in told)
    return (
        f"Validation accuracy at the best step of {len(told) - pruned} completed and {pruned} pruned trials, in the "
        "order they were asked for, and the best completed one so far."
    )
