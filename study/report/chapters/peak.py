"""Which epoch to keep."""

from statistics import fmean, median

from study.analysis import Statistics, Withheld
from study.analysis.estimators.crossfit import CrossFitted
from study.analysis.peak import BestVersusLast, Peak, PhasePeak, Phases
from study.analysis.recommended import RecommendedDepth
from study.analysis.survival import PeakSurvival
from study.analysis.verdict import Verdict
from study.report import figures
from study.report.chapters.parts import Chapter, Pair, Text, make_figure
from study.report.wording import interval, percent, points
from study.results.study_results import StudyResults


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show the epochs that are kept and what that gains; without a verdict, the best epochs of the search's trials."""
    name, heading = "Best epoch", "Which epoch to keep"
    verdict, recommended = statistics.verdict, statistics.recommended
    if isinstance(verdict, Withheld) or isinstance(recommended, Withheld):
        return Chapter("peak", name, heading, (_search_peaks(results, statistics),))
    pair = Pair(
        make_figure("kept", "The epochs that are kept", recommended, figures.kept_epochs, _kept_caption),
        make_figure(
            "kept-last", "The kept epoch against the last", recommended, figures.kept_against_last, _kept_last_caption
        ),
    )
    return Chapter("peak", name, heading, (Text(kept_text(recommended, verdict)), pair))


def search_chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Show how long validation rose in the search, and what its best epochs gain on other images."""
    rising = make_figure(
        "rising", "How long validation rises", statistics.peak_survival, figures.still_rising, _rising_caption
    )
    parts = (
        *(() if isinstance(statistics.recommended, Withheld) else (_search_peaks(results, statistics),)),
        rising,
        Text(phases_text(statistics.phases)),
        Text(cross_fitted_text(statistics.cross_fitted)),
    )
    return Chapter("search-peak", "Epochs", "When the trials of the search peak", parts)


def kept_text(recommended: RecommendedDepth, verdict: Verdict) -> str:
    """Return which epochs are kept, and accuracy and gap there and at the last epoch."""
    kept, gain = recommended.kept, recommended.gain
    epochs, last = [each.epoch for each in kept], max(each.last_epoch for each in kept)
    first, final = min(epochs), max(epochs)
    which = f"epoch {first}" if first == final else f"epoch {first} to {final}"
    middle = "" if first == final else f", median {median(epochs):g}"
    better = "more" if gain.value >= 0 else "less"
    return (
        f"The {len(kept)} trainings at depth {recommended.depth} keep {which} of {last}{middle}: the epoch that the "
        f"other folds choose. On average, accuracy is {percent(fmean(each.accuracy for each in kept))} there and "
        f"{percent(fmean(each.accuracy_last for each in kept))} at the last epoch, {points(abs(gain.value))} {better} "
        f"({interval(gain)} trainings). The gap is {points(verdict.gap.value)} there and "
        f"{points(verdict.gap_last.value)} at the last epoch."
    )


def _kept_caption(recommended: RecommendedDepth) -> str:
    return (
        f"Of each of {len(recommended.kept)} trainings at depth {recommended.depth}, the epoch with the best mean "
        "score on the other folds of its round."
    )


def _kept_last_caption(recommended: RecommendedDepth) -> str:
    differences = [each.accuracy - each.accuracy_last for each in recommended.kept]
    return (
        "Each point is a training, scored on its own fold. Above the dotted diagonal the kept epoch is better than the "
        f"last one: so it is in {sum(each > 0 for each in differences)} of {len(differences)} trainings, and worse in "
        f"{sum(each < 0 for each in differences)}. The fold did not choose the epoch, so this is not optimistic."
    )


def _search_peaks(results: StudyResults, statistics: Statistics) -> Pair:
    """Return the best epochs of the search's trials, and their accuracy there against the last epoch."""
    folds = "folds" in results.info.split
    return Pair(
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
