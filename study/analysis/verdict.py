"""The verdict: which depth, its accuracy and gap, what it gains, and what stays undecided.

The evidence are out-of-fold predictions. At every depth the best settings were trained on the same folds. Repeats have
other folds and may have other settings. Every training image was predicted by a network that was not trained on it.
Images and trainings are both random samples. All depths predict the same images, so they are compared image by image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.depth_curve import DepthCurve, fit_depth_curve
from study.analysis.estimators.intervals import LEVEL, Estimate, percentile_interval

TOLERANCE = 0.02
"""Loss of accuracy against the best depth that the recommended depth may have."""

CONFIDENCE = 0.9
"""Probability with which the recommended depth must be within the tolerance."""

_TRAINING_SDS = np.linspace(0, 0.1, 201)
"""Possible standard deviations of the true accuracy between trainings, equally probable beforehand."""

_Z = float(stats.norm.ppf((1 + LEVEL) / 2))


class DepthEvidence(NamedTuple):
    """Out-of-fold results of one depth."""

    depth: int
    depth_fraction: float
    trainable_fraction: float
    correct: NDArray[np.bool_]
    """Whether each image was classified correctly, shape (repeats, images)."""
    folds: NDArray[np.int64]
    """Fold whose network predicted the image, shape (repeats, images)."""
    gaps: NDArray[np.float64]
    """Train minus validation accuracy of every training at the epoch that was scored, shape (trainings,)."""
    gaps_last: NDArray[np.float64]
    """The same at the last epoch."""
    epochs: tuple[int, ...] = ()
    """The epoch that was scored, of every training."""
    trials: tuple[int, ...] = ()
    """Number of the trial of every training."""


class DepthVerdict(NamedTuple):
    """What is known of one depth."""

    depth: int
    depth_fraction: float
    trainable_fraction: float
    trainings: int
    accuracy: Estimate
    """Expected accuracy on new images of one training; the intervals of all depths hold together."""
    gap: Estimate
    """Gap at the epoch that is kept; the intervals of all depths hold together."""
    gap_last: Estimate
    """Gap at the last epoch, likewise."""
    probability_best: float
    probability_within: float
    """Probability that its accuracy is within the tolerance of the best depth's."""


class DepthContrast(NamedTuple):
    """Accuracy at the recommended depth minus accuracy of something else."""

    other: str
    """``head alone``, ``all blocks``, ``best depth``, ``untuned`` or ``linear model``."""
    other_depth: int | None
    difference: Estimate
    probability_better: float


class Promise(NamedTuple):
    """The accuracy that is expected on new images of the model that a study hands over."""

    value: float
    low: float
    high: float
    members: int
    """Networks of the ensemble: the fold models of the recommended depth."""
    gain: Estimate | None
    """Part of the value that the ensemble is expected to gain over one of its members; None if it is unknown: then the
    value is that of one member, which an ensemble reaches or exceeds."""


class Undecided(NamedTuple):
    """The depths that the evidence neither accepts nor excludes as being within the tolerance of the best."""

    depths: tuple[int, ...]
    images: int | None
    """Training images that would decide a difference of the tolerance between them; None if trainings limit it, or if
    there are as many: then the loss of a depth is close to the tolerance."""
    trainings: int | None
    """Trainings at each of these depths that would decide such a difference on these images; where the images are too
    few for that, that would reduce the noise of trainings to a tenth of that of the images; None if there are as
    many."""


class Verdict(NamedTuple):
    """The answer to the question how deep to fine-tune."""

    recommended_depth: int
    tolerance: float
    confidence: float
    certain: bool
    """Whether the recommended depth is within the tolerance with the required probability."""
    accuracy: Estimate
    """Expected accuracy on new images of one training at the recommended depth."""
    promise: Promise
    gap: Estimate
    gap_last: Estimate
    by_depth: tuple[DepthVerdict, ...]
    contrasts: tuple[DepthContrast, ...]
    probability_best: Mapping[int, float]
    undecided: Undecided
    images: int
    training_sd: float
    """Standard deviation of the true accuracy between trainings that differ in fold and seed alone."""
    trials: tuple[int, ...] = ()
    """Numbers of the cross-validation's trials whose networks are the model: those of the recommended depth."""
    left_out: tuple[int, ...] = ()
    """Depths about which nothing is said, since their cross-validation is not complete."""


def decide_depth(
    evidence: Sequence[DepthEvidence],
    untuned: DepthEvidence | None = None,
    floor: NDArray[np.bool_] | None = None,
    gains: Callable[[int], Estimate | None] = lambda _members: None,
    tolerance: float = TOLERANCE,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Verdict:
    """Return the verdict of cross-validated depths.

    The recommended depth is the shallowest whose accuracy is, with probability ``confidence``, at most ``tolerance``
    below that of the best depth. If there is none, it is the depth with the smallest expected loss.

    Args:
        evidence: results of at least two depths on the same images, shallowest first.
        untuned: results of the untuned configuration on the same images.
        floor: whether a linear model on frozen features classified each image correctly out of fold, shape (images,).
        gains: returns what an ensemble of so many members gains over one of them.
        tolerance: see above.
        confidence: see above.
        seed: of the posterior draws.
    """
    positions = np.array([depth.depth_fraction for depth in evidence])
    covariance, training_sd = accuracy_covariance(evidence)
    others = {name: other for name, other in (("untuned", untuned), ("linear model", floor)) if other is not None}
    curve = _fit_accuracies(evidence, others, positions, training_sd, seed)
    gap, gap_last = (_fit_gaps(evidence, positions, covariance, name, seed) for name in ("gaps", "gaps_last"))
    loss = curve.draws.max(axis=1, keepdims=True) - curve.draws
    within = (loss <= tolerance).mean(axis=0)
    sure = np.flatnonzero(within >= confidence)
    chosen = int(sure[0]) if sure.size else int(loss.mean(axis=0).argmin())
    best = np.bincount(curve.draws.argmax(axis=1), minlength=len(evidence)) / len(curve.draws)
    images = evidence[0].correct.shape[1]
    accuracies, gaps, gaps_last = (_simultaneous_estimates(fit, images) for fit in (curve, gap, gap_last))
    accuracies = [_as_share(accuracy) for accuracy in accuracies]
    by_depth = tuple(
        DepthVerdict(
            depth.depth,
            depth.depth_fraction,
            depth.trainable_fraction,
            len(depth.gaps),
            accuracies[index],
            gaps[index],
            gaps_last[index],
            float(best[index]),
            float(within[index]),
        )
        for index, depth in enumerate(evidence)
    )
    accuracy, members = _as_share(_estimate(curve.draws[:, chosen], images)), len(evidence[chosen].gaps)
    return Verdict(
        recommended_depth=evidence[chosen].depth,
        tolerance=tolerance,
        confidence=confidence,
        certain=bool(sure.size),
        accuracy=accuracy,
        promise=promise_of(accuracy, gains(members), members),
        gap=_estimate(gap.draws[:, chosen], images),
        gap_last=_estimate(gap_last.draws[:, chosen], images),
        by_depth=by_depth,
        contrasts=tuple(_contrasts(evidence, curve, chosen, best, list(others))),
        probability_best={depth.depth: float(best[index]) for index, depth in enumerate(evidence)},
        undecided=_undecided(evidence, within, covariance, chosen, tolerance, confidence, training_sd),
        images=images,
        training_sd=training_sd,
        trials=evidence[chosen].trials,
    )


def promise_of(accuracy: Estimate, gain: Estimate | None, members: int) -> Promise:
    """Return the expected accuracy of an ensemble: that of a member plus the gain, whose errors are independent."""
    assert accuracy.low is not None
    assert accuracy.high is not None
    if gain is None or gain.low is None:
        return Promise(accuracy.value, accuracy.low, accuracy.high, members, None)
    value, reach = accuracy.value + gain.value, gain.value - gain.low
    below = float(np.hypot(accuracy.value - accuracy.low, reach))
    above = float(np.hypot(accuracy.high - accuracy.value, reach))
    value, low, high = (min(max(end, 0.0), 1.0) for end in (value, value - below, value + above))
    return Promise(value, low, high, members, gain)


def accuracy_covariance(evidence: Sequence[DepthEvidence]) -> tuple[NDArray[np.float64], float]:
    """Return the covariance of the depths' accuracies, shape (depths, depths), and the sd between trainings.

    Two things are random. Images: their part is the covariance over images of each image's share of correct
    predictions, divided by the number of images. Trainings: their part is the variance between trainings that the
    images of a fold do not explain, divided by the number of trainings of a depth.
    """
    training_sd = _training_variance(evidence) ** 0.5
    shares = np.array([depth.correct.mean(axis=0) for depth in evidence])
    return covariance_of_shares(shares, [training_sd**2 / len(depth.gaps) for depth in evidence]), training_sd


def covariance_of_shares(shares: NDArray[np.float64], training_variances: Sequence[float]) -> NDArray[np.float64]:
    """Return the covariance of accuracies, from each image's share of correct predictions, shape (rows, images).

    Where nearly all images are right, or nearly all wrong, these few images show too small a variance: it is at least
    that of two wrong images among four more (Agresti & Coull 1998, The American Statistician 52(2)).
    """
    images = shares.shape[1]
    between_images: NDArray[np.float64] = np.atleast_2d(np.cov(shares)) / images
    least = 2 / (images + 4) * (1 - 2 / (images + 4)) / images
    missing = np.maximum(least - np.diag(between_images), 0.0)
    return between_images + np.diag(missing + training_variances)


def _fit_accuracies(
    evidence: Sequence[DepthEvidence],
    others: Mapping[str, DepthEvidence | NDArray[np.bool_]],
    positions: NDArray[np.float64],
    training_sd: float,
    seed: int,
) -> DepthCurve:
    """Return the curve of accuracies, and those of the others, which have seen the same images."""
    shares, variances = [], []
    for row in (*evidence, *others.values()):
        if isinstance(row, DepthEvidence):
            shares.append(row.correct.mean(axis=0))
            variances.append(training_sd**2 / len(row.gaps))
        else:
            shares.append(row.astype(np.float64))
            variances.append(0.0)
    means = np.array(shares).mean(axis=1)
    return fit_depth_curve(positions, means, covariance_of_shares(np.array(shares), variances), seed)


def _training_variance(evidence: Sequence[DepthEvidence]) -> float:
    """Return the variance of true accuracy between trainings of one depth.

    In every fold of a repeat that all depths have, the depths' accuracies minus their own means and minus the mean of
    the fold are residuals. Their variance is that of trainings plus that of a mean over the images of the fold. Few
    residuals cannot show that trainings do not differ: the result is the posterior mean under a uniform prior of the
    standard deviation (Gelman 2006, Bayesian Analysis 1(3)), which is 0 only if all depths are right on equal images.
    """
    repeats = min(len(depth.correct) for depth in evidence)
    if len(evidence) < 2:
        return 0.0
    values = np.array([depth.correct[:repeats] for depth in evidence], dtype=np.float64)
    means, noises, sizes = [], [], []
    for repeat in range(repeats):
        folds = evidence[0].folds[repeat]
        for fold in np.unique(folds):
            cell = values[:, repeat, folds == fold]
            means.append(cell.mean(axis=1))
            centred = cell - cell.mean(axis=1, keepdims=True) - cell.mean(axis=0, keepdims=True) + cell.mean()
            depths, count = cell.shape
            if count > 1:
                noises.append((centred**2).sum() / ((depths - 1) * (count - 1)))
                sizes.append(count)
    table = np.array(means).T
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    if not freedom or not noises:
        return 0.0
    explained = float(np.mean([noise / size for noise, size in zip(noises, sizes, strict=True)]))
    variances = _TRAINING_SDS**2
    scale = variances + max(explained, 1e-12)
    log_likelihood = -0.5 * (freedom * np.log(scale) + (residual**2).sum() / scale)
    return float(np.average(variances, weights=np.exp(log_likelihood - log_likelihood.max())))


def _fit_gaps(
    evidence: Sequence[DepthEvidence],
    positions: NDArray[np.float64],
    covariance: NDArray[np.float64],
    name: str,
    seed: int,
) -> DepthCurve:
    """Return the curve of mean gaps. A gap varies with its validation accuracy, and between trainings."""
    gaps = [np.asarray(getattr(depth, name)) for depth in evidence]
    between = np.array([gap.var(ddof=1) / len(gap) if len(gap) > 1 else 0.0 for gap in gaps])
    return fit_depth_curve(positions, np.array([gap.mean() for gap in gaps]), covariance + np.diag(between), seed)


def _estimate(draws: NDArray[np.float64], n: int) -> Estimate:
    low, high = percentile_interval(draws)
    return Estimate(float(draws.mean()), low, high, n)


def _as_share(accuracy: Estimate) -> Estimate:
    """Return an estimated accuracy whose value and interval lie in [0, 1]."""
    assert accuracy.low is not None
    assert accuracy.high is not None
    value, low, high = (min(max(end, 0.0), 1.0) for end in (accuracy.value, accuracy.low, accuracy.high))
    return accuracy._replace(value=value, low=low, high=high)


def _simultaneous_estimates(curve: DepthCurve, n: int) -> list[Estimate]:
    ends = zip(curve.mean, *curve.simultaneous(), strict=True)
    return [Estimate(float(mean), float(low), float(high), n) for mean, low, high in ends]


def _contrasts(
    evidence: Sequence[DepthEvidence],
    curve: DepthCurve,
    chosen: int,
    best: NDArray[np.float64],
    others: Sequence[str],
) -> Iterator[DepthContrast]:
    """Yield the contrasts of the recommended depth with other depths, then with other models."""
    images = evidence[0].correct.shape[1]
    depths = {
        "head alone": 0 if evidence[0].depth == 0 else chosen,
        "all blocks": len(evidence) - 1 if evidence[-1].depth_fraction == 1 else chosen,
        "best depth": int(best.argmax()),
    }
    for name, index in depths.items():
        if index != chosen:
            draws = curve.draws[:, chosen] - curve.draws[:, index]
            yield DepthContrast(name, evidence[index].depth, _estimate(draws, images), float((draws > 0).mean()))
    for name, draws_of_other in zip(others, curve.others.T, strict=True):
        draws = curve.draws[:, chosen] - draws_of_other
        yield DepthContrast(name, None, _estimate(draws, images), float((draws > 0).mean()))


def _undecided(
    evidence: Sequence[DepthEvidence],
    within: NDArray[np.float64],
    covariance: NDArray[np.float64],
    chosen: int,
    tolerance: float,
    confidence: float,
    training_sd: float,
) -> Undecided:
    open_depths = [index for index, probability in enumerate(within) if 1 - confidence < probability < confidence]
    if not open_depths:
        return Undecided((), None, None)
    images = evidence[0].correct.shape[1]
    variances = []
    for index in open_depths:
        other = chosen if index != chosen else int(within.argmax())
        pair = covariance[index, index] + covariance[other, other] - 2 * covariance[index, other]
        trainings = training_sd**2 * (1 / len(evidence[index].gaps) + 1 / len(evidence[other].gaps))
        variances.append((max(pair - trainings, 0.0) * images, trainings))
    by_image, by_training = (float(np.median(part)) for part in zip(*variances, strict=True))
    wanted = (tolerance / _Z) ** 2
    needed = int(np.ceil(by_image / (wanted - by_training))) if by_training < wanted and by_image else 0
    noise = by_image / images
    enough = int(np.ceil(2 * training_sd**2 / max(wanted - noise, noise / 10)))
    done = min(len(evidence[index].gaps) for index in open_depths)
    more = enough if enough > done else None
    return Undecided(tuple(evidence[index].depth for index in open_depths), needed if needed > images else None, more)
