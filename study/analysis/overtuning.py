"""Overtuning: whether continuing the search lowered the incumbent's score on images that did not select it."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld
from study.analysis.estimators.resampling import Candidates, resampled_weights

RESAMPLES = 2000
HALVES = 100
ORDERS = 100
MIN_IMAGES = 40
"""Half of the images select and half of them score: twenty each at least."""

_ROUNDING = 1e-6
"""Scores are float32: a smaller difference is a tie."""

Source = Literal["test", "halves"]
Scores = NDArray[np.floating]


class Incumbent(NamedTuple):
    """The best trial so far, when ``trial`` had finished."""

    trial: int
    inner: float
    """Score on the images that select; never falls from trial to trial."""
    outer: float
    """Score on images that took no part in the selection."""


class Overtuning(NamedTuple):
    """How far the last incumbent is behind the best earlier one, on images that did not select."""

    source: Source
    overtuning: Estimate
    """0 where no earlier incumbent is better; the interval never starts below 0."""
    chance: float
    """What the same trials reach in 95 % of random orders, in which no search deteriorates."""
    relative: float | None
    """Share of the search's gain that was lost again: 1 is back at the first trial, above 1 is worse than it; None
    where no incumbent was better than the first trial."""
    path: tuple[Incumbent, ...]


def overtuning(
    numbers: ArrayLike, validation: ArrayLike, test_correct: NDArray[np.bool_], seed: int = 0
) -> Overtuning | Withheld:
    """Estimate the overtuning of a study whose test images are open.

    With incumbents ``b_1 .. b_T`` (highest validation score so far, first one on ties), the overtuning after trial T
    is ``max over t of test(b_t) - test(b_T)``, and the relative overtuning is this over
    ``max over t of test(b_t) - test(b_1)`` (Schneider, Bischl & Feurer 2025, AutoML, PMLR 293, there for errors).

    The figure is the largest of several noisy differences, so that noise alone puts it above 0: in a study of equally
    good trials it is some three points with a hundred test images. Its interval accounts for that. It is simultaneous
    over all incumbents (bootstrap of the maximum over test images, paired), holds the true overtuning of these
    incumbents with at least 95 %, and starts at 0 unless an earlier one is distinguished from the last.

    Valid for independent test images that selected nothing. Withheld with fewer than two trials.

    Args:
        numbers: trial numbers in the order of the search, shape (trials,).
        validation: validation score of each trial, shape (trials,).
        test_correct: which test images each trial gets right at its best epoch, shape (trials, images).
        seed: of the bootstrap.
    """
    inner, right = np.asarray(validation, dtype=np.float64)[None], test_correct.astype(np.float32)
    if len(right) < 2:
        return Withheld("one trial has no earlier incumbent")
    outer = right.mean(axis=1, dtype=np.float64)[None]
    bounds = _bounds(right[incumbents(inner)[0]], seed)
    return _describe("test", np.asarray(numbers), inner, outer, right.shape[1], bounds, seed)


def overtuning_by_halves(candidates: Candidates, halves: int = HALVES, seed: int = 0) -> Overtuning | Withheld:
    """Estimate the overtuning of a study whose test images are held out, by halves of the validation images.

    The definition of :func:`overtuning` with the test score replaced by a mean over random halvings: in each of them
    one half selects the incumbents, trial and epoch at once, and the other half scores them. ``inner`` and ``outer``
    are these means.

    Selection on half of the images is noisier than the study's own, which rather overstates overtuning. There is no
    interval, since halves of one set are not independent of each other; compare the figure with ``chance``.

    Valid for independent validation images. Withheld with fewer than two trials, and below ``MIN_IMAGES`` images.
    """
    n = candidates.predicted.shape[1]
    starts = np.flatnonzero(np.diff(candidates.trials, prepend=-1))
    if len(starts) < 2:
        return Withheld("one trial has no earlier incumbent")
    if n < MIN_IMAGES:
        return Withheld(f"halves need at least {MIN_IMAGES} validation images, there are {n}")
    order = np.random.default_rng(seed).random((halves, n)).argsort(axis=1)
    select = np.asarray(order < n // 2, dtype=np.float32)  # 1 for a random half of the images in each row
    inner, outer = _best_epochs(candidates.scores(select), candidates.scores(1 - select), starts)
    return _describe("halves", candidates.trials[starts], inner, outer, n, None, seed)


def incumbents(scores: Scores) -> NDArray[np.int64]:
    """Return the index of the best so far at each position of every row, the first one on ties, shape of ``scores``."""
    before = np.full_like(scores, -np.inf)
    before[:, 1:] = np.maximum.accumulate(scores, axis=1)[:, :-1]
    return np.maximum.accumulate(np.where(scores > before + _ROUNDING, np.arange(scores.shape[1]), 0), axis=1)


def _describe(
    source: Source,
    numbers: NDArray[np.int64],
    inner: Scores,
    outer: Scores,
    n_images: int,
    bounds: tuple[float, float] | None,
    seed: int,
) -> Overtuning:
    selected, scored = _path(inner, outer)
    value, gained = float(scored.max() - scored[-1]), float(scored.max() - scored[0])
    low, high = (None, None) if bounds is None else (max(0.0, value - bounds[0]), value + bounds[1])
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(inner.shape[1]) for _ in range(ORDERS))
    shuffled = np.array([_path(inner[:, order], outer[:, order])[1] for order in orders])
    return Overtuning(
        source=source,
        overtuning=Estimate(value, low, high, n_images),
        chance=float(np.quantile(shuffled.max(axis=1) - shuffled[:, -1], LEVEL)),
        relative=value / gained if gained > 0 else None,
        path=tuple(Incumbent(int(n), float(i), float(o)) for n, i, o in zip(numbers, selected, scored, strict=True)),
    )


def _path(inner: Scores, outer: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean inner and outer score of the incumbent after each trial; both are of shape (samples, trials)."""
    best = incumbents(inner)
    selected, scored = (
        np.take_along_axis(scores, best, axis=1).mean(axis=0, dtype=np.float64) for scores in (inner, outer)
    )
    return selected, scored


def _bounds(right: NDArray[np.float32], seed: int) -> tuple[float, float]:
    """Return what chance may have added to the largest of the differences to the last row, and taken from it."""
    n = right.shape[1]
    moved = resampled_weights(n, RESAMPLES, seed) @ right.T / n - right.mean(axis=1)
    ahead = moved - moved[:, -1:]
    added, taken = (np.quantile(side.max(axis=1), (1 + LEVEL) / 2, method="higher") for side in (ahead, -ahead))
    return float(added), float(taken)


def _best_epochs(inner: Scores, outer: Scores, starts: NDArray[np.int64]) -> tuple[Scores, Scores]:
    """Return the scores of each trial's best epoch by inner score, the first one on ties, shapes (samples, trials)."""
    k = inner.shape[1]
    highest = np.maximum.reduceat(inner, starts, axis=1)
    top = inner >= np.repeat(highest, np.diff(starts, append=k), axis=1) - _ROUNDING
    step = np.minimum.reduceat(np.where(top, np.arange(k), k), starts, axis=1)
    return np.take_along_axis(inner, step, axis=1), np.take_along_axis(outer, step, axis=1)
