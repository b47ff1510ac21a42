"""Statistics of a study while it runs: how certain its best trial is, and whether more trials can show anything."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.analysis.estimators.intervals import Estimate, proportion
from study.analysis.estimators.resampling import resampled_weights
from study.analysis.indistinguishable import MIN_IMAGES, indistinguishable_mask
from study.analysis.noise import detectable_difference, discordance

RESAMPLES = 500
TOP = 10
"""How many of the best trials must lie closer together than the images can show."""

PATIENCE = 50


class RunningComparison(NamedTuple):
    """The best trial so far."""

    position: int
    """Its position among the finished trials, from 0."""
    best: Estimate
    """Its accuracy with Wilson's interval over images; as the best of many it is more likely too high than too low."""
    indistinguishable: int
    """Finished trials that are indistinguishable from it, itself included."""
    n_trials: int


class NoiseVerdict(NamedTuple):
    """Whether to stop because further trials would show only noise, and why."""

    stop: bool
    reason: str


def compare_running(correct: NDArray[np.bool_], seed: int = 0) -> RunningComparison | None:
    """Describe the best of the finished trials; takes milliseconds for a hundred trials.

    Args:
        correct: which validation images each finished trial gets right at its best epoch, in the order in which they
            finished, shape (trials, images); the best is the first one with the highest accuracy.
        seed: of the bootstrap behind ``indistinguishable`` (see ``indistinguishable.indistinguishable_mask``).

    Returns:
        None while no trial has finished. Below twenty images every trial counts as indistinguishable.
    """
    if len(correct) == 0:
        return None
    right = correct.sum(axis=1)
    best = int(right.argmax())
    inside = _inside(correct, seed)
    return RunningComparison(best, proportion(int(right[best]), correct.shape[1]), int(inside.sum()), len(correct))


def noise_verdict(correct: NDArray[np.bool_], patience: int = PATIENCE, seed: int = 0) -> NoiseVerdict:
    """Return whether further trials can be expected to show only noise: the rule of ``--stop-when-noise``.

    The study stops when all of these hold:

    - ``patience`` trials and ten more have finished;
    - the best trial from before the last ``patience`` ones is indistinguishable from the best of all: in that time no
      trial was provably better;
    - the ten best trials lie closer together than the difference that a paired test on these images finds four times
      out of five (Connor 1987), so that their order is noise.

    The rule does not account for untried configurations. Where a share f of the space is better, the last ``patience``
    trials missed it all with probability ``(1 - f) ** patience`` (8 % for f = 5 % and 50 trials; an adaptive sampler
    misses less). Improvements that the images cannot show do not delay it, though many of them may add up: where
    accuracies spread by 6 points (standard deviation), stopping cost more than 5 points of true accuracy against 200
    trials in about a quarter of simulated studies. ``python -m benchmarks.coverage --only stop`` measures it.

    Args:
        correct: as for :func:`compare_running`.
        patience: number of the latest trials, in which no improvement was shown.
        seed: of the bootstrap.
    """
    n_trials, n_images = correct.shape
    if n_trials < patience + TOP:
        return NoiseVerdict(False, f"{n_trials} trials have finished, the rule needs {patience + TOP}")
    right = correct.sum(axis=1)
    before = int(right[:-patience].argmax())
    if not _inside(correct, seed)[before]:
        return NoiseVerdict(False, f"one of the last {patience} trials is better than the best before them")
    top = np.argsort(-right, kind="stable")[:TOP]
    range_of_top = float(right[top[0]] - right[top[-1]]) / n_images
    detectable = detectable_difference(n_images, discordance(correct[top]))
    if range_of_top > detectable:
        return NoiseVerdict(False, f"the {TOP} best trials lie {100 * range_of_top:.1f} points apart, more than noise")
    return NoiseVerdict(
        True,
        f"none of the last {patience} trials is distinguishable on {n_images} images from the best before them, and "
        f"the {TOP} best lie within {100 * range_of_top:.1f} points, where {100 * detectable:.1f} can be shown",
    )


def _inside(correct: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    n_trials, n_images = correct.shape
    if n_trials < 2 or n_images < MIN_IMAGES:
        return np.ones(n_trials, dtype=np.bool_)
    right = correct.astype(np.float32)
    replicas = resampled_weights(n_images, RESAMPLES, seed) @ right.T / n_images
    return indistinguishable_mask(right.mean(axis=1), replicas)[0]
