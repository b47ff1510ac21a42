"""Optimism of the selection: the winner's curse, and the score of the selected trial corrected by the bootstrap."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.config.trial_config import Metric
from study.analysis.estimators.intervals import (
    Estimate,
    Withheld,
    difference_of_proportions,
    percentile_interval,
    proportion,
)
from study.analysis.estimators.resampling import Candidates, Scores, Weights, resampled_weights

MIN_IMAGES = 20
"""About 37 % of the images are out of bag: below twenty, a handful of images would have to score the selected."""

RESAMPLES = 1000
_AT_ONCE = 100
"""Resamples scored in one product: ten thousand candidates then take a few megabytes."""


class WinnersCurse(NamedTuple):
    """Validation against test accuracy of the trial that was selected on validation."""

    validation: Estimate
    test: Estimate
    """With Wilson's interval; of the two the only one that selection left unbiased."""
    difference: Estimate
    """Validation minus test; ``n`` counts the images of both."""


class CorrectedScore(NamedTuple):
    """The selected trial's score, corrected for the selection."""

    observed: float
    """Validation score of the selected candidate."""
    corrected: Estimate
    """Mean score on images that took no part in the selection, with its percentile interval."""
    optimism: float
    """Observed minus corrected."""
    n_candidates: int
    """Trials times epochs that could have been selected."""


def winners_curse(right_validation: int, n_validation: int, right_test: int, n_test: int) -> WinnersCurse:
    """Estimate the selected trial's accuracy on validation minus that on test images.

    With Newcombe's interval for independent proportions, for the mean difference that selecting in this way makes. The
    accuracy of the best of many varies less than a binomial one, so the interval is rather too wide than too narrow.

    Valid for test images that were opened once, after the selection, and for validation and test images that are
    independent samples of the same population; a shift between the two adds to the difference.

    Raises:
        ValueError: when a count is not within 0 and its n, or an n is 0.
    """
    validation, test = proportion(right_validation, n_validation), proportion(right_test, n_test)
    return WinnersCurse(validation, test, difference_of_proportions(validation, test))


def corrected_selection(
    candidates: Candidates, resamples: int = RESAMPLES, seed: int = 0, scored_by: Metric | None = None
) -> CorrectedScore | Withheld:
    """Estimate the selected trial's score on new images, by bootstrap bias correction (BBC).

    On each resample of the validation images the best candidate, trial and epoch at once, is selected as the study does
    it (first one on ties) and scored on the images that were not drawn; the mean is the corrected score, its interval
    the percentiles of these scores (Tsamardinos, Greasidou & Borboudakis 2018, Machine Learning 107:1895). No training
    is repeated. Scores of ``nll`` are negative log-likelihoods, negated.

    Valid for independent validation images. The interval is conservative, as in the paper: out-of-bag scores rest on
    some 37 % of the images. A resample holds fewer different images than the set, so that the corrected score is rather
    too low than too high. It does not account for an adaptive sampler that used the same images, nor for pruned trials.
    Where no image is wrong, all these accuracies are equal and show no uncertainty: the interval is Wilson's then.
    Withheld with fewer than two candidates, and below ``MIN_IMAGES`` images.

    Args:
        candidates: what could be selected.
        resamples: number of resamples.
        seed: of the resamples.
        scored_by: metric of the scores, other than ``nll``; None for the one that selects.
    """
    k, n = candidates.predicted.shape
    if k < 2:
        return Withheld("there was nothing to select from")
    if n < MIN_IMAGES:
        return Withheld(f"a resampled selection needs at least {MIN_IMAGES} validation images, there are {n}")
    weights = _some_left_out(n, resamples, seed)
    scores = _scores_outside(candidates, weights, scored_by)
    everything = np.ones((1, n), dtype=np.float32)
    observed = float(_scored(candidates, scored_by).at(select(candidates, everything)).scores(everything)[0, 0])
    mean = float(scores.mean())
    corrected = Estimate(mean, *percentile_interval(scores), n)
    if np.ptp(scores) == 0 and (scored_by or candidates.metric) == "accuracy":
        corrected = proportion(round(mean * n), n)
    return CorrectedScore(observed, corrected, observed - mean, k)


def corrected_difference(
    one: Candidates, other: Candidates, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate | Withheld:
    """Estimate the difference in accuracy on new images of the selected trials of two studies, by the same method.

    Both studies select on the same resample, and both selected trials are scored on the same images that were not
    drawn, so that images which are easy for both cancel out. Conditions and limits are those of
    :func:`corrected_selection`.

    Args:
        one: candidates of the first study.
        other: of the second study, on the same images in the same order.
        resamples: number of resamples.
        seed: of the resamples.
    """
    n = one.predicted.shape[1]
    if n < MIN_IMAGES:
        return Withheld(f"a resampled selection needs at least {MIN_IMAGES} validation images, there are {n}")
    weights = _some_left_out(n, resamples, seed)
    scores = [_scores_outside(candidates, weights, "accuracy") for candidates in (one, other)]
    if not np.ptp(scores, axis=1).any():  # as above
        return difference_of_proportions(*(proportion(round(each.mean() * n), n) for each in scores))._replace(n=n)
    differences = scores[0] - scores[1]
    return Estimate(float(differences.mean()), *percentile_interval(differences), n)


def _some_left_out(n_images: int, resamples: int, seed: int) -> Weights:
    """Draw resamples; one that holds all images has nothing to score on, and is left out."""
    weights = resampled_weights(n_images, resamples, seed)
    return np.asarray(weights[(weights == 0).any(axis=1)])


def _scores_outside(candidates: Candidates, weights: Weights, metric: Metric | None) -> NDArray[np.float64]:
    """Return the score of the candidate that each sample selects, on the images that are not in it."""
    outside, scored = np.asarray(weights == 0, dtype=np.float32), _scored(candidates, metric)
    selected = zip(select(candidates, weights), outside, strict=True)
    return np.array([scored.at(np.array([best])).scores(rest[None])[0, 0] for best, rest in selected], np.float64)


def _scored(candidates: Candidates, metric: Metric | None) -> Candidates:
    """Return the candidates with another metric than the study's, which needs no likelihoods."""
    return candidates if metric is None else candidates._replace(metric=metric, losses=None)


def select(candidates: Candidates, weights: Weights) -> NDArray[np.int64]:
    """Return the best candidate on each sample of the images, the first one on ties, shape (samples,)."""
    parts = [weights[start : start + _AT_ONCE] for start in range(0, len(weights), _AT_ONCE)]
    return np.concatenate([first_best(candidates.scores(part)) for part in parts])


def first_best(scores: Scores) -> NDArray[np.int64]:
    """Return the first of the best in each row; what differs by rounding alone is a tie."""
    return np.asarray(np.argmax(scores >= scores.max(axis=1, keepdims=True) - 1e-6, axis=1))
