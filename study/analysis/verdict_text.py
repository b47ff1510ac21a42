"""The verdict in sentences, the same on the terminal, in the report and wherever else it is shown."""

from collections.abc import Sequence
from typing import NamedTuple

from study.analysis.estimators.intervals import Estimate
from study.analysis.verdict import DepthContrast, Promise, Verdict

_NAMES = {
    "head alone": "over the head alone",
    "all blocks": "over all blocks",
    "best depth": "against depth {depth}, which is more often the best",
    "untuned": "over the untuned configuration",
    "linear model": "over a linear model on frozen features",
}


class VerdictText(NamedTuple):
    """The sentences."""

    recommendation: str
    accuracy: str
    gain: str
    """Empty if there is nothing to compare with."""
    cost: str
    undecided: str
    """Empty if everything is decided."""
    left_out: str
    """Empty if all depths were cross-validated."""


def describe_verdict(verdict: Verdict) -> VerdictText:
    """Say what to do, what it gains, what it costs, and what is not decided."""
    chosen = next(row for row in verdict.by_depth if row.depth == verdict.recommended_depth)
    deepest = verdict.by_depth[-1]
    blocks = round(deepest.depth / deepest.depth_fraction)
    within = f"within {100 * verdict.tolerance:g} points of the best depth"
    return VerdictText(
        recommendation=(
            f"Train {verdict.recommended_depth} of {blocks} blocks ({chosen.trainable_fraction:.0%} of the backbone's "
            f"parameters): {within} with probability {chosen.probability_within:.0%}."
        ),
        accuracy=_promise(verdict.promise),
        gain=_gain(verdict.contrasts),
        cost=(
            f"Training minus validation accuracy is {_points(verdict.gap_last)} at the last epoch, "
            f"{_points(verdict.gap)} at the epoch that is kept."
        ),
        undecided=_undecided(verdict, within),
        left_out=_left_out(verdict.left_out),
    )


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return the verdict as lines for a terminal."""
    recommendation, *others = describe_verdict(verdict)
    return [recommendation, *(f"  {text}" for text in others if text)]


def _promise(promise: Promise) -> str:
    of = f"an ensemble of {promise.members}" if promise.gain else "one such training"
    return f"Expected accuracy on new images, as {of}: {_range(promise.value, promise.low, promise.high)}."


def _gain(contrasts: Sequence[DepthContrast]) -> str:
    best = next((contrast.other_depth for contrast in contrasts if contrast.other == "best depth"), None)
    gains: dict[int | str, str] = {}
    for contrast in contrasts:
        name = _NAMES[contrast.other].format(depth=contrast.other_depth)
        if contrast.other_depth is not None and contrast.other_depth == best and contrast.other != "best depth":
            name += " (more often the best)"
        # A depth that has two names is compared once, under the first.
        gains.setdefault(
            contrast.other if contrast.other_depth is None else contrast.other_depth,
            f"{_signed(contrast.difference)} {name}",
        )
    return f"One training at this depth: {', '.join(gains.values())}." if gains else ""


def _undecided(verdict: Verdict, within: str) -> str:
    undecided = verdict.undecided
    if not undecided.depths:
        return ""
    text = f"Not decided: whether these depths are {within}: {', '.join(map(str, undecided.depths))}"
    needed = []
    if undecided.images is not None:
        needed.append(f"about {_round(undecided.images):,} training images")
    if undecided.trainings is not None:
        needed.append(f"{undecided.trainings} trainings of each")
    return f"{text}; telling them apart would take {' and '.join(needed)}." if needed else f"{text}."


def _left_out(depths: Sequence[int]) -> str:
    if not depths:
        return ""
    numbers, one = ", ".join(map(str, depths)), len(depths) == 1
    subject = f"Depth {numbers} is left out: its" if one else f"Depths {numbers} are left out: their"
    return f"{subject} cross-validation is not complete."


def _range(value: float, low: float, high: float) -> str:
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


def _signed(estimate: Estimate) -> str:
    assert estimate.low is not None
    assert estimate.high is not None
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:+.1f} points ({low:+.1f} to {high:+.1f})"


def _points(estimate: Estimate) -> str:
    assert estimate.low is not None
    assert estimate.high is not None
    return f"{100 * estimate.value:.1f} points ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def _round(number: int) -> int:
    """Return a number rounded to two digits: the estimate is not more precise."""
    digits = len(str(number)) - 2
    return round(number, -digits) if digits > 0 else number
