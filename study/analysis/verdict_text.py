"""The verdict in sentences, the same on the terminal, in the report and wherever else it is shown."""

from collections.abc import Sequence

from study.analysis.estimators.intervals import Estimate
from study.analysis.verdict import DepthContrast, Verdict

_NAMES = {
    "head alone": "over the head alone",
    "all blocks": "over all blocks",
    "best depth": "against depth {depth}, which is more often the best",
    "untuned": "over the untuned configuration",
    "linear model": "over a linear model on frozen features",
}


def verdict_lines(verdict: Verdict, blocks: int) -> list[str]:
    """Return the verdict: what to do, what it gains, what it costs, and what is not decided.

    Args:
        verdict: of the study.
        blocks: number of blocks of the backbone.
    """
    chosen = next(row for row in verdict.by_depth if row.depth == verdict.recommended_depth)
    how_sure = (
        f"within {_points(verdict.tolerance)} points of the best depth with probability {chosen.probability_within:.0%}"
    )
    lines = [
        (
            f"Train {verdict.recommended_depth} of {blocks} blocks ({chosen.trainable_fraction:.0%} of the backbone's "
            f"parameters): {how_sure}."
        ),
        f"  Expected accuracy on new images, of one such training: {_percent(verdict.accuracy)}",
        *_contrast_lines(verdict.contrasts),
        (
            f"  Cost: training accuracy is ahead by {_signed(verdict.gap_last)} at the last epoch, by "
            f"{_signed(verdict.gap)} at the epoch that is kept"
        ),
    ]
    return [*lines, *_undecided_lines(verdict)]


def _contrast_lines(contrasts: Sequence[DepthContrast]) -> list[str]:
    texts = [
        f"{_signed(contrast.difference)} {_NAMES[contrast.other].format(depth=contrast.other_depth)}"
        for contrast in contrasts
    ]
    return [f"  {', '.join(texts)}"] if texts else []


def _undecided_lines(verdict: Verdict) -> list[str]:
    undecided = verdict.undecided
    if not undecided.depths:
        return []
    depths = ", ".join(map(str, undecided.depths))
    text = f"  Not decided: whether these depths are within {_points(verdict.tolerance)} points of the best: {depths}"
    if undecided.images is not None:
        text += f"; telling them apart would take about {_round(undecided.images):,} training images"
    if undecided.trainings is not None:
        text += f" and {undecided.trainings} trainings of each"
    return [text]


def _percent(estimate: Estimate) -> str:
    assert estimate.low is not None
    assert estimate.high is not None
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _signed(estimate: Estimate) -> str:
    assert estimate.low is not None
    assert estimate.high is not None
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:+.1f} points ({low:+.1f} to {high:+.1f})"


def _points(difference: float) -> str:
    return f"{100 * difference:g}"


def _round(number: int) -> int:
    """Return a number rounded to two digits: the estimate is not more precise."""
    digits = len(str(number)) - 2
    return round(number, -digits) if digits > 0 else number
