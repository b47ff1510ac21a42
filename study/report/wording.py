"""Figures in words: percentages, points, intervals, and the three sentences a report opens with."""

from typing import NamedTuple

from drft.config.trial_config import Metric
from study.analysis import BestVersusLast, DepthRow, Estimate, Noise, Peak, Statistics, Withheld
from study.results.metric_names import displayed_score


class Answer(NamedTuple):
    """One of the three answers: the question it answers, and what the figures say."""

    question: str
    text: str


def percent(value: float) -> str:
    """Write a share: ``61.4%``."""
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """Write a difference of accuracies: ``4.1 points``."""
    return f"{number(100 * value)} points"


def score(metric: Metric, value: float) -> str:
    """Write a score: ``63.9 of 100``, or ``1.011 nats`` for a likelihood."""
    return f"{number(displayed_score(metric, value), 3)} nats" if metric == "nll" else f"{number(100 * value)} of 100"


def score_difference(metric: Metric, value: float) -> str:
    """Write a difference of scores: ``4.1 points``, or ``0.041 nats``."""
    return f"{number(value, 3)} nats" if metric == "nll" else points(value)


def number(value: float, decimals: int = 1) -> str:
    """Write a number with a true minus sign."""
    return f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float) -> str:
    """Write a p-value: ``0.031``, or ``<0.001``."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def interval(estimate: Estimate) -> str:
    """Write an interval of a difference and its n, or why there is none."""
    if estimate.low is None or estimate.high is None:
        return f"n = {estimate.n}, too few for an interval" if estimate.n < 3 else f"n = {estimate.n}, no spread"
    return f"95% interval {number(100 * estimate.low)} to {number(100 * estimate.high)}, n = {estimate.n}"


def score_interval(metric: Metric, estimate: Estimate) -> str:
    """Write an interval of a score and its n, the ends of a likelihood as it is known."""
    if metric != "nll" or estimate.low is None or estimate.high is None:
        return interval(estimate)
    low, high = (number(displayed_score(metric, end), 3) for end in (estimate.high, estimate.low))
    return f"95% interval {low} to {high}, n = {estimate.n}"


def between(estimate: Estimate, scale: float = 100, *, value: bool = False) -> str:
    """Write the ends of an interval, with ``value`` after its middle: ``12.5 (3.1 to 21.9)``."""
    decimals = 1 if scale == 100 else 2
    if estimate.low is None or estimate.high is None:
        ends = "no interval"
    else:
        ends = f"{number(scale * estimate.low, decimals)} to {number(scale * estimate.high, decimals)}"
    return f"{number(scale * estimate.value, decimals)} ({ends})" if value else ends


def answer(statistics: Statistics) -> tuple[Answer, Answer, Answer]:
    """Answer the three questions of a study, each in one sentence with its uncertainty, or say why not."""
    return (
        Answer("What does depth buy?", depth_sentence(statistics.depths, statistics.noise)),
        Answer("What does it cost in generalization?", gap_sentence(statistics.depths)),
        Answer("Which epoch should be kept?", epoch_sentence(statistics.peak, statistics.best_versus_last)),
    )


def depth_sentence(depths: tuple[DepthRow, ...] | Withheld, noise: Noise | Withheld) -> str:
    """Say what the best trial reached, at which depth, and whether the shallowest depth falls short of it."""
    if isinstance(depths, Withheld):
        return _unanswered(depths)
    if isinstance(noise, Withheld):
        return _unanswered(noise)
    top = next(row for row in depths if row.best_trial == noise.best_trial)
    reached = (
        f"The best of {_counted(noise.n_trials, 'completed trial')} reached {percent(noise.best.value)} validation "
        f"accuracy ({interval(noise.best)} images) at depth {top.depth}"
    )
    if len(depths) == 1:
        return f"{reached}; only this depth was tried to the end."
    if top is depths[0]:
        return f"{reached}, the shallowest that was tried to the end: training deeper bought nothing here."
    return f"{reached}; {_against(depths[0], noise)}."


def gap_sentence(depths: tuple[DepthRow, ...] | Withheld) -> str:
    """Say how the gap at the last step differs between the shallowest and the deepest depth.

    Depths with too few trials for an interval are passed over, where two others have one.
    """
    if isinstance(depths, Withheld):
        return _unanswered(depths)
    sure = [row for row in depths if row.gap_last.low is not None]
    first, *_, last = sure if len(sure) > 1 else (depths[0], depths[-1])
    start = f"{points(first.gap_last.value)} at depth {first.depth} ({interval(first.gap_last)})"
    if first is last:
        return f"At the last step, training accuracy exceeds validation accuracy by {start}."
    end = f"{points(last.gap_last.value)} at depth {last.depth} ({interval(last.gap_last)})"
    if _apart(first.gap_last, last.gap_last):
        verb = "grows" if last.gap_last.value > first.gap_last.value else "shrinks"
        return f"At the last step, the gap between training and validation accuracy {verb} from {start} to {end}."
    return (
        f"At the last step, training accuracy exceeds validation accuracy by {start} and by {end}; "
        "so few trials do not tell the two apart."
    )


def epoch_sentence(peak: Peak | Withheld, compared: BestVersusLast | Withheld) -> str:
    """Say when validation peaked, and what keeping the best step gained."""
    if isinstance(peak, Withheld):
        return _unanswered(peak)
    early = round(peak.before_last.value * peak.n)
    peaked = (
        f"Validation peaked before the last step in {early} of {_counted(peak.n, 'completed trial')}, "
        f"at step {peak.best_step.value:g} of {peak.last_step:g} in the median"
    )
    if isinstance(compared, Withheld):
        return f"{peaked}; what the best step gains over the last one is not said, since {compared.reason}."
    return (
        f"{peaked}; keeping the best step instead of the last one gained {points(compared.difference.value)} of "
        f"validation accuracy ({interval(compared.difference)}), part of it luck, since the highest of several "
        "noisy measurements flatters."
    )


def _against(shallow: DepthRow, noise: Noise) -> str:
    name = "the head alone (depth 0)" if shallow.depth == 0 else f"depth {shallow.depth}"
    lead = noise.best.value - shallow.best.value
    least = f"the {points(noise.detectable)} that {noise.n_images} images can reliably show"
    if lead < 0:
        return f"{name} reached {percent(shallow.best.value)}, but in no trial within the limit of the gap"
    if lead == 0:
        return f"{name} reached the same"
    if lead < noise.detectable:
        return f"{name} reached {percent(shallow.best.value)}, and the lead of {points(lead)} is less than {least}"
    return f"{name} reached {percent(shallow.best.value)}, and the lead of {points(lead)} is more than {least}"


def _apart(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.high < other.low or other.high < one.low


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _unanswered(withheld: Withheld) -> str:
    return f"Not answered yet: {withheld.reason}."
