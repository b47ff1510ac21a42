"""Trials that the validation images cannot distinguish from the best one, which was picked as the best of many."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.analysis.estimators.intervals import LEVEL, Withheld
from study.analysis.estimators.resampling import Candidates, resampled_weights

RESAMPLES = 2000
MIN_IMAGES = 20
"""Below twenty images the bootstrap of a maximum does not keep its level."""

_ROUNDING = 1e-6
"""Scores are shares of images, so that ties with the critical difference are common."""

_FIRST_STAGE = 0.005
"""Error spent on finding the trials that cannot be the best one; the rest of 5 % is left for the comparison."""


class ComparedTrial(NamedTuple):
    """One trial compared with the best one."""

    trial: int
    score: float
    inside: bool
    """Whether it is indistinguishable from the best."""


class Indistinguishable(NamedTuple):
    """The trials that are indistinguishable from the best one."""

    compared: tuple[ComparedTrial, ...]
    """All trials, best first."""
    critical: float
    """Score difference to the best beyond which a trial is distinguished from it."""
    n_images: int

    @property
    def trials(self) -> tuple[int, ...]:
        """The indistinguishable trials, best first and the best included."""
        return tuple(compared.trial for compared in self.compared if compared.inside)


def indistinguishable_trials(
    candidates: Candidates, resamples: int = RESAMPLES, seed: int = 0
) -> Indistinguishable | Withheld:
    """Return the trials that are indistinguishable from the one with the best score.

    Args:
        candidates: the predictions of each trial at its best epoch, one candidate a trial.
        resamples: bootstrap samples of the images.
        seed: of the bootstrap.

    Method and conditions as in :func:`indistinguishable_mask`. Each trial's epoch counts as given: choosing the best
    epoch on the same images raises all trials alike. Pruned trials are not compared, since they never ended. Withheld
    with fewer than two trials, and below ``MIN_IMAGES`` images.
    """
    n_trials, n_images = candidates.predicted.shape
    if n_trials < 2:
        return Withheld("only one trial has completed, there is none to compare it with")
    if n_images < MIN_IMAGES:
        return Withheld(f"a comparison needs at least {MIN_IMAGES} validation images, there are {n_images}")
    scores = candidates.scores(np.ones((1, n_images), dtype=np.float32))[0]
    replicas = candidates.scores(resampled_weights(n_images, resamples, seed))
    inside, critical = indistinguishable_mask(scores, replicas)
    order = np.argsort(-scores, kind="stable")
    compared = tuple(ComparedTrial(int(candidates.trials[k]), float(scores[k]), bool(inside[k])) for k in order)
    return Indistinguishable(compared, critical, n_images)


def indistinguishable_mask(
    scores: NDArray[np.floating], replicas: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], float]:
    """Return which trials are indistinguishable from the best, and the critical difference.

    A set as the model confidence set (Hansen, Lunde & Nason 2011, Econometrica 79:453): with 95 % confidence it holds
    *every* trial that is truly as good as the best one, so that in a study of pure noise it is the whole study in 95 %
    of cases. The test is a paired bootstrap over images with a max statistic in the sense of Hsu (1996, multiple
    comparisons with the best): trial k is distinguished from the best when it lies further behind than the 95 %
    quantile of

        max over trials i of (x_i - slack_i)  -  min over trials k still inside of x_k,

    with x = resampled score minus score. The maximum accounts for the best having been picked among all; the minimum
    for all being compared, stepping down as trials drop out (Romano & Wolf 2005). ``slack_i`` is a lower bound of how
    far trial i is behind, by a first stage at 0.5 %, so that clearly worse trials do not count as rivals (Romano,
    Shaikh & Wolf 2014).

    Valid for images that are a random sample, whatever the trials have in common, and as accurate as the bootstrap:
    ``python -m benchmarks.coverage`` measures it. Trials of equal true score drop out together in at most 5 % of
    studies; a worse trial may well stay inside, so the set never shows that two trials are equally good.

    Args:
        scores: score of each trial on all images, higher is better, shape (trials,).
        replicas: scores on resampled images, the same resamples for all trials, shape (resamples, trials).

    Returns:
        A mask over the trials, and the critical difference of scores.
    """
    behind = scores.max() - scores
    moved = replicas - scores
    largest = np.quantile(np.ptp(moved, axis=1), 1 - _FIRST_STAGE, method="higher")
    rivals = (moved - np.maximum(0, behind - largest)).max(axis=1)
    inside = np.ones(len(scores), dtype=np.bool_)
    while True:
        spread = rivals - moved[:, inside].min(axis=1)
        critical = float(np.quantile(spread, LEVEL + _FIRST_STAGE, method="higher"))
        still = inside & (behind <= critical + _ROUNDING)
        if still.sum() in {inside.sum(), 1}:
            return still, critical
        inside = still
