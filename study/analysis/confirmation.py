"""What the sealed test images say of configurations that were retrained on fresh seeds and splits.

Every configuration is trained on the same draws (a draw is a seed and a split) and predicts the same test images,
so its results are a table of draws by images. Both vary: another draw would train another network, and other
images would be easier or harder; intervals account for both (:mod:`study.analysis.estimators.two_way_means`).
They speak of further draws from this pool of training images; another pool would vary more (Nadeau & Bengio
2003).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from drft.metrics import confusion, qwk
from study.analysis.estimators.intervals import Estimate, Withheld, mean_estimate, proportion
from study.analysis.estimators.two_way_means import MeanEstimate, combined, crossed_mean, ratio
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
    qwk: Estimate
    """Mean quadratic weighted kappa over the draws; its interval by the jackknife over images (Efron 1982)."""
    validation: Estimate
    """Mean validation accuracy over the draws, t interval; n counts draws."""
    drop: Estimate
    """Validation minus test accuracy of the retrainings: what choosing the epoch on validation flatters."""
    sweep: Estimate | None
    """Validation accuracy in the sweep, Wilson's interval; None for the baseline."""
    fall: Estimate | None
    """That one minus the test accuracy: the choice of the trial flatters too (winner's curse)."""


class Difference(NamedTuple):
    """One configuration minus another, on the draws both have."""

    one: str
    other: str
    n_draws: int
    accuracy: Estimate
    qwk: Estimate


class Survival(NamedTuple):
    """How much of what the sweep promised is there on the test images."""

    winner: str
    promised: Estimate
    """Validation accuracy of the winner in the sweep minus the mean of the baseline's retrainings; n counts draws."""
    found: Estimate
    """Mean test accuracy of the winner minus that of the baseline."""
    share: Estimate | Withheld
    """``found`` over ``promised``, with Fieller's (1954) interval."""


class Confirmed(NamedTuple):
    """Everything the test images say; the first configuration is the baseline, the second the sweep's winner."""

    n_images: int
    n_draws: int
    scores: tuple[ConfirmedScore, ...]
    differences: tuple[Difference, ...]
    """Of all pairs with a draw in common; intervals are not widened for their number."""
    survival: Survival | Withheld


def confirmed(configurations: Sequence[RetrainedConfig], grades: NDArray[np.int64], n_validation: int) -> Confirmed:
    """Score retrained configurations on the test images.

    Args:
        configurations: the baseline, then the best trials of the sweep, best first; each with a draw at least.
        grades: true grades of the test images, shape (images,).
        n_validation: images on which the sweep validated.

    Raises:
        ValueError: when there is no configuration.
    """
    tables = [_tables(one, grades) for one in configurations]
    differences = [_difference(one, other) for other, one in combinations(tables, 2)]
    return Confirmed(
        n_images=len(grades),
        n_draws=len(set().union(*(one.draws for one in configurations))),
        scores=tuple(_score(table, n_validation) for table in tables),
        differences=tuple(difference for difference in differences if difference is not None),
        survival=_survival(tables, n_validation),
    )


class _Tables(NamedTuple):
    """What statistics need of a configuration, by draw (rows) and image (columns)."""

    of: RetrainedConfig
    correct: NDArray[np.float64]
    kappa: NDArray[np.float64]
    """By draw."""
    kappa_parts: NDArray[np.float64]

    @property
    def accuracy(self) -> MeanEstimate:
        return crossed_mean(self.correct)

    @property
    def qwk(self) -> MeanEstimate:
        return crossed_mean(self.kappa_parts)._replace(value=float(self.kappa.mean()))

    def on(self, draws: Sequence[int]) -> Self:
        """Return the tables of these draws alone."""
        rows = [self.of.draws.index(draw) for draw in draws]
        return self._replace(correct=self.correct[rows], kappa=self.kappa[rows], kappa_parts=self.kappa_parts[rows])


def _tables(of: RetrainedConfig, grades: NDArray[np.int64]) -> _Tables:
    classes = 1 + int(max(grades.max(), of.predicted.max()))
    kappas, parts = zip(*(_jackknifed_qwk(grades, row, classes) for row in of.predicted), strict=True)
    return _Tables(of, (of.predicted == grades).astype(np.float64), np.array(kappas), np.array(parts))


def _jackknifed_qwk(
    grades: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[float, NDArray[np.float64]]:
    """Return kappa, and what each image contributes to it: pseudo-values, shape (images,)."""
    counts, n = confusion(grades, predicted, classes), len(grades)
    whole, without = qwk(counts), np.zeros(counts.shape)
    for cell in zip(*np.nonzero(counts), strict=True):  # images of one cell contribute alike
        counts[cell] -= 1
        without[cell] = qwk(counts) if n > 1 else whole
        counts[cell] += 1
    return whole, n * whole - (n - 1) * without[grades, predicted]


def _score(tables: _Tables, n_validation: int) -> ConfirmedScore:
    of, n = tables.of, tables.correct.shape[1]
    chosen = of.sweep_accuracy
    return ConfirmedScore(
        name=of.name,
        trial=of.trial,
        depth=of.depth,
        n_draws=len(of.draws),
        diverged=of.diverged,
        accuracy=tables.accuracy.estimate(n, 0, 1),
        qwk=tables.qwk.estimate(n, -1, 1),
        validation=_within(mean_estimate(of.validation)),
        drop=_drop(tables).estimate(n),
        sweep=None if chosen is None else proportion(round(chosen * n_validation), n_validation),
        fall=None if chosen is None else _fall(chosen, tables, n_validation).estimate(n),
    )


def _within(share: Estimate) -> Estimate:
    """Cut an interval of a share where no share can be."""
    if share.low is None or share.high is None:
        return share
    return share._replace(low=max(0.0, share.low), high=min(1.0, share.high))


def _drop(tables: _Tables) -> MeanEstimate:
    """Mean over draws of validation minus test accuracy; the images add what all draws have in common."""
    lost = tables.of.validation - tables.correct.mean(axis=1)
    draws, n = tables.correct.shape
    if draws < 2:
        return MeanEstimate(float(lost.mean()), None, 0)
    by_image = tables.correct.mean(axis=0)
    within = tables.correct.var(axis=0, ddof=1).mean() / draws
    common = max(0.0, float(by_image.var(ddof=1) - within)) / n
    return combined(float(lost.mean()), [(float(lost.var(ddof=1)) / draws, draws - 1), (common, max(1, n - 1))])


def _fall(chosen: float, tables: _Tables, n_validation: int) -> MeanEstimate:
    test = tables.accuracy
    if test.variance is None:
        return MeanEstimate(chosen - test.value, None, 0)
    own = chosen * (1 - chosen) / n_validation
    return combined(chosen - test.value, [(own, max(1, n_validation - 1)), (test.variance, test.freedom)])


def _difference(one: _Tables, other: _Tables) -> Difference | None:
    draws = sorted(set(one.of.draws) & set(other.of.draws))
    if not draws:
        return None
    mine, theirs = one.on(draws), other.on(draws)
    n = mine.correct.shape[1]
    kappa = crossed_mean(mine.kappa_parts - theirs.kappa_parts)
    return Difference(
        one=one.of.name,
        other=other.of.name,
        n_draws=len(draws),
        accuracy=crossed_mean(mine.correct - theirs.correct).estimate(n, -1, 1),
        qwk=kappa._replace(value=float((mine.kappa - theirs.kappa).mean())).estimate(n, -2, 2),
    )


def _survival(tables: Sequence[_Tables], n_validation: int) -> Survival | Withheld:
    if len(tables) < 2 or tables[0].of.trial is not None:
        return Withheld("it takes a baseline and a winner, and not both have trainings that came to their end")
    baseline, winner = tables[:2]
    draws = sorted(set(baseline.of.draws) & set(winner.of.draws))
    chosen = winner.of.sweep_accuracy
    if len(draws) < 2 or chosen is None:
        return Withheld("it takes two draws at least that both the winner and the baseline were trained on")
    found = crossed_mean(winner.on(draws).correct - baseline.on(draws).correct)
    promised = _promised(chosen, baseline.of.validation, n_validation)
    n = winner.correct.shape[1]
    return Survival(
        winner=winner.of.name,
        promised=promised.estimate(len(baseline.of.draws)),
        found=found.estimate(n, -1, 1),
        share=_share(found, promised, n),
    )


def _promised(chosen: float, baseline: NDArray[np.float64], n_validation: int) -> MeanEstimate:
    """The winner's variance is binomial over the sweep's validation images, the baseline's that of its draws."""
    own = (chosen * (1 - chosen) / n_validation, max(1.0, n_validation - 1.0))
    theirs = (float(baseline.var(ddof=1)) / len(baseline), len(baseline) - 1.0)
    return combined(chosen - float(baseline.mean()), [own, theirs])


def _share(found: MeanEstimate, promised: MeanEstimate, n: int) -> Estimate | Withheld:
    share = ratio(found, promised, n)
    if share is not None:
        return share
    return Withheld(f"the sweep's advantage of {100 * promised.value:.1f} points is within its own noise")
