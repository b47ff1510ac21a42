"""Test accuracy of configurations that were retrained with new seeds and splits.

Every configuration is trained on the same draws (a draw is a seed and a split) and predicts the same test images, so
its results are a table of draws by images. Both are random: another draw would train another network, and other images
would be easier or harder; intervals account for both (:mod:`study.analysis.estimators.two_way_means`). They hold for
further draws from this pool of training images; another pool would vary more (Nadeau & Bengio 2003).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from drft.metrics import confusion, qwk
from study.analysis.depth import accuracy_estimate
from study.analysis.estimators.grading import NOT_ORDERED
from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate
from study.analysis.estimators.two_way_means import MeanWithVariance, crossed_mean, ratio, sum_of_variances
from study.results.retrained import RetrainedConfig


class ConfirmedScore(NamedTuple):
    """A configuration on the test images."""

    name: str
    trial: int | None
    depth: int
    n_draws: int
    diverged: int
    accuracy: Estimate
    """Mean test accuracy over the draws; n counts images, here and below."""
    qwk: Estimate | Withheld
    """Mean quadratic weighted kappa over the draws; its interval by the jackknife over images (Efron 1982)."""
    validation: Estimate
    """Mean validation accuracy over the draws, t interval; n counts draws."""
    drop: Estimate
    """Validation minus test accuracy of the retrainings: the optimism of choosing the epoch on validation images."""
    sweep: Estimate | None
    """Validation accuracy in the sweep, Wilson's interval; None for the baseline."""
    fall: Estimate | None
    """``sweep`` minus the test accuracy: the optimism of choosing the trial too (winner's curse)."""


class Difference(NamedTuple):
    """One configuration minus another, on the draws both have."""

    one: str
    other: str
    n_draws: int
    accuracy: Estimate
    qwk: Estimate | Withheld


class ConfirmedAdvantage(NamedTuple):
    """How much of the winner's advantage in the sweep remains on the test images."""

    winner: str
    promised: Estimate
    """Validation accuracy of the winner in the sweep minus the mean of the baseline's retrainings; n counts draws."""
    found: Estimate
    """Mean test accuracy of the winner minus that of the baseline."""
    share: Estimate | Withheld
    """``found`` over ``promised``, with Fieller's (1954) interval."""


class Confirmed(NamedTuple):
    """All results on the test images; the first configuration is the baseline, the second the sweep's winner."""

    n_images: int
    n_draws: int
    scores: tuple[ConfirmedScore, ...]
    differences: tuple[Difference, ...]
    """Of all pairs with a draw in common; intervals are not widened for their number."""
    survival: ConfirmedAdvantage | Withheld


def score_retrained(
    configurations: Sequence[RetrainedConfig], grades: NDArray[np.int64], n_validation: int, *, ordinal: bool = True
) -> Confirmed:
    """Estimate accuracy and kappa of retrained configurations on the test images, and their differences.

    Means over draws and images with the intervals of :func:`~study.analysis.estimators.two_way_means.crossed_mean`. One
    draw gives figures without intervals: the variance between trainings is unknown. The share of the sweep's advantage
    is withheld without a baseline, below two common draws, and where the advantage is within its own noise.

    Args:
        configurations: the baseline, then the best trials of the sweep, best first; each with a draw at least.
        grades: true grades of the test images, shape (images,).
        n_validation: number of validation images in the sweep.
        ordinal: whether the classes are ordered; else there is no kappa.

    Raises:
        ValueError: when there is no configuration.
    """
    tables = []
    for config in configurations:
        classes = 1 + int(max(grades.max(), config.predicted.max()))
        kappas, parts = zip(*(_jackknifed_qwk(grades, row, classes) for row in config.predicted), strict=True)
        correct = (config.predicted == grades).astype(np.float64)
        tables.append(_ScoredImages(config, correct, np.array(kappas), np.array(parts)))
    scores = [_score(table, n_validation) for table in tables]
    compared = [_difference(first, second) for second, first in combinations(tables, 2)]
    differences = [difference for difference in compared if difference is not None]
    if not ordinal:
        scores = [score._replace(qwk=NOT_ORDERED) for score in scores]
        differences = [difference._replace(qwk=NOT_ORDERED) for difference in differences]
    return Confirmed(
        n_images=len(grades),
        n_draws=len(set().union(*(config.draws for config in configurations))),
        scores=tuple(scores),
        differences=tuple(differences),
        survival=_advantage(tables, n_validation),
    )


class _ScoredImages(NamedTuple):
    """Scores of one configuration, by draw (rows) and image (columns)."""

    config: RetrainedConfig
    correct: NDArray[np.float64]
    kappa: NDArray[np.float64]
    """By draw."""
    kappa_parts: NDArray[np.float64]
    """Jackknife pseudo-values of kappa."""

    def on(self, draws: Sequence[int]) -> Self:
        """Return the rows of these draws."""
        rows = [self.config.draws.index(draw) for draw in draws]
        return self._replace(correct=self.correct[rows], kappa=self.kappa[rows], kappa_parts=self.kappa_parts[rows])


def _jackknifed_qwk(
    grades: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[float, NDArray[np.float64]]:
    """Return kappa, and what each image contributes to it: pseudo-values, shape (images,)."""
    counts, n = confusion(grades, predicted, classes), len(grades)
    kappa, without = qwk(counts), np.zeros(counts.shape)
    for cell in zip(*np.nonzero(counts), strict=True):  # images of one cell contribute alike
        counts[cell] -= 1
        without[cell] = qwk(counts) if n > 1 else kappa
        counts[cell] += 1
    return kappa, n * kappa - (n - 1) * without[grades, predicted]


def _mean_kappa(kappa: NDArray[np.float64], parts: NDArray[np.float64]) -> MeanWithVariance:
    # The mean of the pseudo-values is the jackknife's corrected kappa; reported is the mean of kappa itself.
    return crossed_mean(parts)._replace(value=float(kappa.mean()))


def _score(table: _ScoredImages, n_validation: int) -> ConfirmedScore:
    config, n = table.config, table.correct.shape[1]
    sweep, validation = config.sweep_accuracy, mean_estimate(config.validation)
    if validation.low is not None and validation.high is not None:
        validation = validation._replace(low=max(0.0, validation.low), high=min(1.0, validation.high))
    test, fall = crossed_mean(table.correct), None
    if sweep is not None:
        parts = [_binomial(sweep, n_validation), (test.variance, test.freedom)]
        fall = sum_of_variances(sweep - test.value, parts).estimate(n)
    return ConfirmedScore(
        name=config.name,
        trial=config.trial,
        depth=config.depth,
        n_draws=len(config.draws),
        diverged=config.diverged,
        accuracy=test.estimate(n, 0, 1),
        qwk=_mean_kappa(table.kappa, table.kappa_parts).estimate(n, -1, 1),
        validation=validation,
        drop=_drop(table).estimate(n),
        sweep=None if sweep is None else accuracy_estimate(sweep, n_validation),
        fall=fall,
    )


def _drop(table: _ScoredImages) -> MeanWithVariance:
    """Return the mean over draws of validation minus test accuracy; the images add the variance all draws share."""
    lost = table.config.validation - table.correct.mean(axis=1)
    draws, n = table.correct.shape
    if draws < 2:
        return MeanWithVariance(float(lost.mean()), None, 0)
    by_image = table.correct.mean(axis=0)
    within = table.correct.var(axis=0, ddof=1).mean() / draws
    common = max(0.0, float(by_image.var(ddof=1) - within)) / n
    return sum_of_variances(float(lost.mean()), [(float(lost.var(ddof=1)) / draws, draws - 1), (common, max(1, n - 1))])


def _binomial(share: float, n: int) -> tuple[float, float]:
    """Return the variance of a share of n images, and its degrees of freedom."""
    return share * (1 - share) / n, max(1.0, n - 1.0)


def _difference(first: _ScoredImages, second: _ScoredImages) -> Difference | None:
    draws = sorted(set(first.config.draws) & set(second.config.draws))
    if not draws:
        return None
    a, b = first.on(draws), second.on(draws)
    n = a.correct.shape[1]
    return Difference(
        one=first.config.name,
        other=second.config.name,
        n_draws=len(draws),
        accuracy=crossed_mean(a.correct - b.correct).estimate(n, -1, 1),
        qwk=_mean_kappa(a.kappa - b.kappa, a.kappa_parts - b.kappa_parts).estimate(n, -2, 2),
    )


def _advantage(tables: Sequence[_ScoredImages], n_validation: int) -> ConfirmedAdvantage | Withheld:
    if len(tables) < 2 or tables[0].config.trial is not None:
        return Withheld("a baseline and a winner are needed, and trainings of one of them did not complete")
    baseline, winner = tables[:2]
    draws = sorted(set(baseline.config.draws) & set(winner.config.draws))
    sweep = winner.config.sweep_accuracy
    if len(draws) < 2 or sweep is None:
        return Withheld("at least two draws are needed that both the winner and the baseline were trained on")
    found = crossed_mean(winner.on(draws).correct - baseline.on(draws).correct)
    reference = baseline.config.validation
    between_draws = (float(reference.var(ddof=1)) / len(reference), len(reference) - 1.0)
    promised = sum_of_variances(sweep - float(reference.mean()), [_binomial(sweep, n_validation), between_draws])
    n = winner.correct.shape[1]
    noise = Withheld(f"the sweep's advantage of {100 * promised.value:.1f} points is within its own noise")
    return ConfirmedAdvantage(
        winner=winner.config.name,
        promised=promised.estimate(len(baseline.config.draws)),
        found=found.estimate(n, -1, 1),
        share=ratio(found, promised, n) or noise,
    )
