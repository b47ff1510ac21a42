"""Numbers as text: percentages, points and intervals; and the three answers that open a report."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from drft.config.trial_config import Metric
from study.analysis import DepthRow, Estimate, Statistics, Withheld
from study.analysis.best_of_k import EqualDepths
from study.analysis.floor import FloorScores
from study.analysis.noise import Noise
from study.analysis.peak import BestVersusLast, Peak
from study.analysis.selection import CorrectedScore
from study.analysis.verdict_text import describe_verdict
from study.results.metric_names import displayed_score
from study.results.progress import counted


class Answer(NamedTuple):
    """One of the three questions of a report, with its answer."""

    question: str
    text: str


def escape_markdown(text: str) -> str:
    """Escape the markup characters of Markdown and HTML, and join the lines of a text."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def percent(value: float) -> str:
    """Format a share: ``61.4%``."""
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """Format a difference of accuracies: ``4.1 points``."""
    return f"{number(100 * value)} points"


def score(metric: Metric, value: float) -> str:
    """Format a score: ``63.9 of 100``, or ``1.011 nats`` for a likelihood."""
    return f"{number(displayed_score(metric, value), 3)} nats" if metric == "nll" else f"{number(100 * value)} of 100"


def score_difference(metric: Metric, value: float) -> str:
    """Format a difference of scores: ``4.1 points``, or ``0.041 nats``."""
    return f"{number(value, 3)} nats" if metric == "nll" else points(value)


def number(value: float, decimals: int = 1) -> str:
    """Format a number with a true minus sign; what rounds to zero has none."""
    return f"{value:z.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float) -> str:
    """Format a p-value: ``0.031``, or ``<0.001``."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def interval(estimate: Estimate) -> str:
    """Format the interval of a difference with its n, or the reason why there is none."""
    if estimate.low is None or estimate.high is None:
        return f"n = {estimate.n}, too few for an interval" if estimate.n < 3 else f"n = {estimate.n}, no spread"
    return f"95% interval {number(100 * estimate.low)} to {number(100 * estimate.high)}, n = {estimate.n}"


def score_interval(metric: Metric, estimate: Estimate) -> str:
    """Format the interval of a score with its n; for ``nll``, with its sign reversed (a score is maximized)."""
    if metric != "nll" or estimate.low is None or estimate.high is None:
        return interval(estimate)
    low, high = (number(displayed_score(metric, end), 3) for end in (estimate.high, estimate.low))
    return f"95% interval {low} to {high}, n = {estimate.n}"


def between(estimate: Estimate, scale: float = 100, *, value: bool = False) -> str:
    """Format the ends of an interval: ``3.1 to 21.9``; with ``value``, after the estimate: ``12.5 (3.1 to 21.9)``."""
    decimals = 1 if scale == 100 else 2
    if estimate.low is None or estimate.high is None:
        ends = "no interval"
    else:
        ends = f"{number(scale * estimate.low, decimals)} to {number(scale * estimate.high, decimals)}"
    return f"{number(scale * estimate.value, decimals)} ({ends})" if value else ends


def kappa(estimate: Estimate | Withheld) -> str:
    """Format a quadratic weighted kappa: ``0.61 (0.52 to 0.70)``; empty for classes that are not ordered."""
    return "" if isinstance(estimate, Withheld) else between(estimate, 1, value=True)


def with_kappa(text: str, estimate: Estimate | Withheld) -> str:
    """Return a text with a quadratic weighted kappa behind it, if there is one."""
    return text if isinstance(estimate, Withheld) else f"{text}, QWK {kappa(estimate)}"


def without_empty_kappa(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return headings and rows of a table without the columns of kappa, if these are empty."""
    shown = [place for place, name in enumerate(headings) if "QWK" not in name or any(row[place] for row in rows)]
    return [headings[place] for place in shown], [tuple(row[place] for place in shown) for row in rows]


def plus_minus(estimate: Estimate, scale: float = 100, decimals: int = 1) -> str:
    """Format an estimate and half the width of its interval: ``12.5 ± 9.4``."""
    value = number(scale * estimate.value, decimals)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ± {number(scale * (estimate.high - estimate.low) / 2, decimals)}"


def percent_range(share: Estimate) -> str:
    """Format the interval of a share: ``51.2% to 70.5%``."""
    return f"{percent(share.low or 0.0)} to {percent(1.0 if share.high is None else share.high)}"


def exact_interval(share: Estimate) -> str:
    """Format the exact interval of a share: ``exact 95% interval 12.0% to 74.0%``."""
    return f"exact 95% interval {percent_range(share)}"


def answer(statistics: Statistics, metric: Metric = "accuracy") -> tuple[Answer, ...]:
    """Answer the questions of a study, each in a sentence or two with their uncertainty, or give the reason why not."""
    if not isinstance(statistics.verdict, Withheld):
        text = describe_verdict(statistics.verdict)
        return (
            Answer(
                "How deep should one fine-tune?",
                " ".join(filter(None, (text.recommendation, text.undecided, text.left_out))),
            ),
            Answer("What accuracy can be expected?", f"{text.accuracy} {text.gain}".rstrip()),
            Answer("What does it cost in generalization?", text.cost),
        )
    sentences = (
        depth_sentence(statistics.depths, statistics.noise, statistics.equal_depths),
        expected_sentence(statistics.corrected, metric),
        floor_sentence(statistics.floor),
    )
    return (
        Answer("What does training deeper gain?", " ".join(filter(None, sentences))),
        Answer("What does it cost in generalization?", gap_sentence(statistics.depths)),
        Answer("Which epoch should be kept?", epoch_sentence(statistics.peak, statistics.best_versus_last)),
    )


def depth_sentence(
    depths: tuple[DepthRow, ...] | Withheld, noise: Noise | Withheld, equal: EqualDepths | Withheld
) -> str:
    """Return the score of the best trial and its depth, and whether depths differ at equal numbers of trials.

    The best trials of two depths are not compared: the depth with more trials has the better one by chance alone, and
    its pruned trials count, too.
    """
    if isinstance(depths, Withheld):
        return _unanswered(depths)
    if isinstance(noise, Withheld):
        return _unanswered(noise)
    best = next(row for row in depths if row.best_trial == noise.best_trial)
    reached = (
        f"The best of {counted(noise.n_trials, 'completed trial')} reached {percent(noise.best.value)} validation "
        f"accuracy ({interval(noise.best)} images) at depth {best.depth}"
    )
    if len(depths) == 1:
        return f"{reached}; only this depth has completed trials."
    if isinstance(equal, Withheld):
        return f"{reached}. Whether depth had a part in it is not answered: {equal.reason}."
    if not equal.clearly_worse:
        return f"{reached}. At equal numbers of trials, the depths cannot be distinguished (p = {p_value(equal.p)})."
    worse = " and ".join(map(str, equal.clearly_worse))
    return (
        f"{reached}. At equal numbers of trials, depth {equal.best} is better than depth {worse} "
        f"(p = {p_value(equal.p)})."
    )


def expected_sentence(selection: CorrectedScore | Withheld, metric: Metric) -> str:
    """Return the score of the best trial on images that did not select it; empty if it is unknown."""
    if isinstance(selection, Withheld):
        return ""
    corrected = selection.corrected
    value = percent(corrected.value) if metric == "accuracy" else score(metric, corrected.value)
    return (
        f"The same images selected the best trial; on other images, about {value} are expected of it "
        f"({score_interval(metric, corrected)} images)."
    )


def floor_sentence(floor: FloorScores | Withheld) -> str:
    """Return the accuracy of a linear model on frozen features; empty for a study without it."""
    if isinstance(floor, Withheld):
        return ""
    return (
        f"The floor, a linear model on the frozen features of {floor.backbone}, reaches "
        f"{percent(floor.accuracy.value)} out of fold ({interval(floor.accuracy)} images); unlike the best trial, it "
        "was not selected."
    )


def gap_sentence(depths: tuple[DepthRow, ...] | Withheld) -> str:
    """Return how the gap at the last epoch differs between the shallowest and the deepest depth.

    Depths with too few trials for an interval are skipped when two others have one.
    """
    if isinstance(depths, Withheld):
        return _unanswered(depths)
    sure = [row for row in depths if row.gap_last.low is not None]
    first, *_, last = sure if len(sure) > 1 else (depths[0], depths[-1])
    start = f"{points(first.gap_last.value)} at depth {first.depth} ({interval(first.gap_last)})"
    if first is last:
        return f"At the last epoch, training minus validation accuracy is {start}."
    end = f"{points(last.gap_last.value)} at depth {last.depth} ({interval(last.gap_last)})"
    if _disjoint(first.gap_last, last.gap_last):
        verb = "grows" if last.gap_last.value > first.gap_last.value else "shrinks"
        return f"At the last epoch, training minus validation accuracy {verb} from {start} to {end}."
    return (
        f"At the last epoch, training minus validation accuracy is {start} and {end}; so few trials cannot distinguish "
        "the two."
    )


def epoch_sentence(peak: Peak | Withheld, compared: BestVersusLast | Withheld) -> str:
    """Return when validation peaked, and what keeping the best epoch gained."""
    if isinstance(peak, Withheld):
        return _unanswered(peak)
    early = round(peak.before_last.value * peak.n)
    peaked = (
        f"Validation peaked before the last epoch in {early} of {counted(peak.n, 'completed trial')}, "
        f"at epoch {peak.best_step.value:g} of {peak.last_step:g} in the median"
    )
    if isinstance(compared, Withheld):
        return f"{peaked}; the gain of the best epoch over the last one is not shown: {compared.reason}."
    return (
        f"{peaked}; validation accuracy at the best epoch minus that at the last one is "
        f"{points(compared.difference.value)} ({interval(compared.difference)}). Part of it is optimistic: the best "
        "epoch is the highest of several noisy measurements."
    )


def _disjoint(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.high < other.low or other.high < one.low


def _unanswered(withheld: Withheld) -> str:
    return f"Not answered yet: {withheld.reason}."
