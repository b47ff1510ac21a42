"""Which epoch to keep."""

from study.analysis import Statistics, Withheld
from study.analysis.estimators.crossfit import CrossFitted
from study.analysis.peak import BestVersusLast, Peak, PhasePeak, Phases
from study.analysis.survival import PeakSurvival
from study.report import figures
from study.report.chapters.parts import Chapter, FigurePair, Text, make_figure
from study.report.wording import interval, percent, points
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show when validation peaked, and what keeping that epoch gained."""
    folds = "folds" in results.info.split
    pair = FigurePair(
        make_figure(
            "peak",
            "When validation peaked",
            statistics.peak,
            figures.best_steps,
            lambda peak: _peak_caption(peak, folds=folds),
        ),
        make_figure(
            "saved",
            "The best epoch against the last",
            statistics.best_versus_last,
            figures.best_versus_last,
            _saved_caption,
        ),
    )
    rising = make_figure(
        "rising", "How long validation rises", statistics.peak_survival, figures.still_rising, _rising_caption
    )
    texts = (Text(phases_text(statistics.phases)), Text(cross_fitted_text(statistics.cross_fitted)))
    return Chapter("peak", "Best epoch", "Which epoch to keep", (pair, rising, *texts))


def phases_text(phases: Phases | Withheld) -> str:
    """Return how much trials lose after a peak in either phase, and what the depth phase adds to the head phase."""
    if isinstance(phases, Withheld):
        return f"The two phases are not compared: {phases.reason}."
    gain = (
        f"The gain of the depth phase is not shown: {phases.gain.reason}."
        if isinstance(phases.gain, Withheld)
        else f"The best epoch of the depth phase beats the best of the head phase by {points(phases.gain.value)} on "
        f"average ({interval(phases.gain)}); the longer phase has more epochs to pick a high score from."
    )
    return " ".join((_decay("head", phases.head), _decay("depth", phases.depth), gain))


def cross_fitted_text(trials: tuple[CrossFitted, ...] | Withheld) -> str:
    """Return what keeping the best epoch gains on images that did not select it."""
    if isinstance(trials, Withheld):
        return f"The gain of the best epoch on other images is not shown: {trials.reason}."
    best, optimism = trials[0], sum(trial.optimism for trial in trials) / len(trials)
    return (
        f"On the images that selected it, the best epoch of trial {best.trial} beats the last one by "
        f"{points(best.apparent.value)} ({interval(best.apparent)} images). When one half of the images selects and "
        f"the other half scores, over many random halves, {points(best.honest.value)} remain "
        f"({interval(best.honest)} images): {points(best.optimism)} are due to selecting the highest of several noisy "
        f"measurements. Over the best {len(trials)} trials, this optimism is {points(optimism)} on average."
    )


def _decay(phase: str, peak: PhasePeak | Withheld) -> str:
    if isinstance(peak, Withheld):
        return f"The loss after a peak in the {phase} phase is not shown: {peak.reason}."
    return (
        f"The {peak.n} completed trials that peaked in the {phase} phase lost {points(peak.decay.value)} of validation "
        f"accuracy from there to the last epoch ({interval(peak.decay)})."
    )


def _rising_caption(survival: PeakSurvival) -> str:
    median = survival.median
    if isinstance(median, Withheld):
        half = f"There is no median: {median.reason}"
    else:
        end = "beyond the last epoch" if median.high is None else f"{median.high:g}"
        half = f"Half have peaked by epoch {median.value:g} (95% interval {median.low:g} to {end})"
    return (
        f"Share of {survival.n} trials whose lasting peak is still to come (Kaplan-Meier, pointwise 95% band). A "
        f"lasting peak is a new best score that the next {survival.patience} epochs of the depth phase do not beat, "
        f"so early stopping would have kept it. {half}. {survival.pruned} pruned trials are censored: they are assumed "
        f"to peak like the others after the epoch at which they were pruned; {survival.unseen} were pruned too early "
        "to count. Without this assumption, the median of the best epochs, which may come after a lasting peak, lies "
        f"between {survival.at_least:g} and {survival.at_most:g}."
    )


def _peak_caption(peak: Peak, *, folds: bool) -> str:
    epoch = peak.best_step
    ends = "" if epoch.low is None or epoch.high is None else f" (95% interval {epoch.low:g} to {epoch.high:g})"
    reason = "some of their folds did not run" if folds else "their peak may have come later (censoring)"
    return (
        f"Best epoch of each of {peak.n} completed trials; the dashed line is the median, epoch {epoch.value:g}{ends}. "
        f"{percent(peak.in_head_phase.value)} peaked in the head phase, before any block was trained. Pruned trials "
        f"are left out: {reason}."
    )


def _saved_caption(compared: BestVersusLast) -> str:
    return (
        "Each point is a completed trial; its height above the dotted diagonal is what keeping the best epoch gained. "
        f"On average, accuracy is {percent(compared.best.value)} at the best epoch and {percent(compared.last.value)} "
        f"at the last, {points(compared.difference.value)} more ({interval(compared.difference)}; paired bootstrap "
        "over trials). Part of this gain comes from selecting the highest of several noisy measurements."
    )
