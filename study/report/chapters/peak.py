"""Which epoch to keep."""

from collections.abc import Mapping

import plotly.graph_objects as go

from study.analysis import (
    BestVersusLast,
    CrossFitted,
    Estimate,
    Peak,
    PeakSurvival,
    PhasePeak,
    Phases,
    Statistics,
    Withheld,
)
from study.report import figures
from study.report.chapters.parts import Chapter, FigurePair, Text, exhibit, wide
from study.report.wording import interval, percent, points
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show when validation peaked, and what keeping that step saved."""
    pair = FigurePair(
        exhibit("peak", "When validation peaked", statistics.peak, _peak, lambda p: _peak_caption(p, results)),
        exhibit("saved", "The best step against the last", statistics.best_versus_last, _saved, _saved_caption),
    )
    rising = exhibit("rising", "How long validation rises", statistics.peak_survival, _rising, _rising_caption)
    words = (Text(phases_text(statistics.phases)), Text(cross_fitted_text(statistics.cross_fitted)))
    return Chapter("peak", "Best epoch", "Which epoch to keep", (pair, rising, *words))


def phases_text(phases: Phases | Withheld) -> str:
    """Say how far trials fall after a peak in either phase, and what the depth phase adds to the head phase."""
    if isinstance(phases, Withheld):
        return f"The two phases are not compared: {phases.reason}."
    gain = (
        f"What the depth phase adds is not said: {phases.gain.reason}."
        if isinstance(phases.gain, Withheld)
        else f"The best epoch of the depth phase beats the best of the head phase by {points(phases.gain.value)} in "
        f"the mean ({interval(phases.gain)}); the longer phase has more epochs to be lucky in."
    )
    return " ".join((_decay("head", phases.head), _decay("depth", phases.depth), gain))


def cross_fitted_text(found: tuple[CrossFitted, ...] | Withheld) -> str:
    """Say what keeping the best epoch is worth on images that did not choose it."""
    if isinstance(found, Withheld):
        return f"What the best epoch is worth on other images is not said: {found.reason}."
    best = found[0]
    return (
        f"On the images that chose it, the best epoch of trial {best.trial} beats the last one by "
        f"{points(best.apparent.value)} ({_images(best.apparent)}). Where one half of the images chooses and the "
        f"other half scores, over many random halves, {points(best.honest.value)} remain ({_images(best.honest)}): "
        f"{points(best.optimism)} are the luck of the highest of several noisy measurements. Over the best "
        f"{len(found)} trials that luck is {points(sum(one.optimism for one in found) / len(found))} in the mean."
    )


def _decay(phase: str, peak: PhasePeak | Withheld) -> str:
    if isinstance(peak, Withheld):
        return f"No decay after peaks in the {phase} phase is given: {peak.reason}."
    return (
        f"The {peak.n} completed trials that peaked in the {phase} phase lost {points(peak.decay.value)} of validation "
        f"accuracy from there to the last step ({interval(peak.decay)})."
    )


def _images(estimate: Estimate) -> str:
    return interval(estimate).replace("n =", "images:")


def _rising(survival: PeakSurvival) -> Mapping[str, go.Figure]:
    return wide(figures.still_rising(survival))


def _rising_caption(survival: PeakSurvival) -> str:
    middle = survival.median
    if isinstance(middle, Withheld):
        half = f"No median: {middle.reason}"
    else:
        end = "beyond the last step" if middle.high is None else f"{middle.high:g}"
        half = f"Half have peaked by step {middle.value:g} (95% interval {middle.low:g} to {end})"
    return (
        f"Share of {survival.n} trials whose lasting peak is still to come (Kaplan-Meier, pointwise 95% band): a new "
        f"best score that the next {survival.patience} epochs of the depth phase do not beat, where early stopping "
        f"would have kept it. {half}. {survival.pruned} pruned trials count for as long as they were watched, as if "
        f"they would have peaked like the others; {survival.unseen} were pruned too early to count. Without that "
        "assumption: the median of the best steps, which may come after a lasting peak, lies between "
        f"{survival.at_least:g} and {survival.at_most:g}."
    )


def _peak(peak: Peak) -> Mapping[str, go.Figure]:
    return wide(figures.best_steps(peak))


def _peak_caption(peak: Peak, results: StudyResults) -> str:
    ahead = "their peak may still have been ahead (censoring)"
    missing = "folds were missing" if "folds" in results.info.split else ahead
    step = peak.best_step
    sure = "" if step.low is None or step.high is None else f" (95% interval {step.low:g} to {step.high:g})"
    return (
        f"Best step of each of {peak.n} completed trials; the dashed line is the median, step {step.value:g}{sure}. "
        f"{percent(peak.in_head_phase.value)} peaked in the head phase, before any block was trained. Pruned trials "
        f"are left out: they were stopped while {missing}."
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
