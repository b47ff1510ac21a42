"""Whether a study's promise was kept: its model on the test images, beside the untuned configuration and the floor."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from drft.metrics import confusion
from study.analysis.estimators.grading import NOT_ORDERED, kappa_estimate
from study.analysis.estimators.intervals import LEVEL, Estimate, Withheld, proportion
from study.analysis.estimators.paired import PairedDifference, paired_difference
from study.results.test_set import OpenedTestSet, PromisedAccuracy

POWER = 0.8
"""Probability with which a shortfall is seen that counts as detectable."""

_POSSIBLE = 2000
"""Accuracies by which a promise is represented: more change no probability by 0.0001."""


class PromiseCheck(NamedTuple):
    """Whether the accuracy on the test images is what was promised."""

    outcome: Literal["kept", "not kept", "not decidable"]
    """Not decidable: so few images that no result at all would break the promise."""
    promised: PromisedAccuracy
    measured: Estimate
    """Accuracy on the test images, with Wilson's interval."""
    least: float
    """The lowest test accuracy that keeps the promise."""
    probability: float
    """Probability of this test accuracy or a lower one, if the promise holds."""
    detectable: float | None
    """How far the true accuracy must be below the promised one to break the promise with probability 0.8; None if no
    accuracy does."""


class ModelOnTest(NamedTuple):
    """One model on the test images."""

    name: str
    """``recommended``, ``untuned`` or ``linear model``."""
    depth: int | None
    """None for the linear model."""
    members: int
    """Networks whose mean probabilities it predicts; 0 for the linear model."""
    accuracy: Estimate
    """With Wilson's interval."""
    qwk: Estimate | Withheld
    """Quadratic weighted kappa; percentile bootstrap over images."""
    difference: PairedDifference | None
    """Of the recommended model's accuracy minus this one's, image by image; None for the recommended model."""


class PromiseOnTest(NamedTuple):
    """The test set of a study with the goal depth, opened once for three models that were fixed before."""

    opened: str
    """Date and time, in ISO 8601."""
    n_images: int
    check: PromiseCheck
    models: tuple[ModelOnTest, ...]
    """The recommended one first."""
    missing: Mapping[str, str]
    """Why a model is not scored, by its name."""


def check_promise(promised: PromisedAccuracy, correct: int, n: int) -> PromiseCheck:
    """Decide whether a promised accuracy was kept on n test images.

    A promise is a distribution of the true accuracy: normal about its value, each half as wide as its 95 % interval
    says. The number of correct test images is binomial, given the true accuracy. The promise is *not kept* if, by both
    together, so few correct images or fewer have a probability of at most 2.5 % (a prior predictive p-value, Box 1980).
    So a promise that is right is called broken in at most 2.5 % of studies, whatever the number of images.

    Valid for independent test images of the same population as the training images, which no choice has used. Absence
    of a proof is not a proof of absence: ``detectable`` says which shortfall the test images would have shown.

    Args:
        promised: the accuracy with its interval.
        correct: test images that the model classified correctly.
        n: test images, at least one.

    Raises:
        ValueError: when there is no image, or more correct ones than images.
    """
    measured = proportion(correct, n)
    level = (1 - LEVEL) / 2
    deviates = stats.norm.ppf((np.arange(_POSSIBLE) + 0.5) / _POSSIBLE)
    reach = np.where(deviates < 0, promised.value - promised.low, promised.high - promised.value)
    possible = np.clip(promised.value + deviates * reach / stats.norm.ppf(1 - level), 0, 1)

    def at_most(count: int) -> float:
        return float(stats.binom.cdf(count, n, possible).mean())

    least = bisect_right(range(n + 1), level, key=at_most)
    outcome: Literal["kept", "not kept", "not decidable"] = "kept" if correct >= least else "not kept"
    detectable = None
    if least:
        # The accuracy at which fewer than ``least`` images are correct with probability POWER (Clopper & Pearson 1934).
        detectable = promised.value - float(stats.beta.ppf(1 - POWER, least, n - least + 1))
    return PromiseCheck(
        outcome if least else "not decidable", promised, measured, least / n, at_most(correct), detectable
    )


def promise_on_test(opened: OpenedTestSet, *, ordinal: bool = True) -> PromiseOnTest:
    """Score the models of an opened test set, and check the promise of the recommended one.

    Valid for models that were fixed before the test set was opened. Differences are paired by image; each interval is
    95 % by itself, for these trained networks. Below five images there is no bootstrap interval, below twenty none of
    kappa, and classes that are not ``ordinal`` have no kappa at all.
    """
    n = len(opened.grades)
    classes = 1 + max(int(opened.grades.max()), *(int(model.predicted.max()) for model in opened.models))
    right = [model.predicted == opened.grades for model in opened.models]
    models = tuple(
        ModelOnTest(
            name=model.name,
            depth=model.depth,
            members=len(model.trials),
            accuracy=proportion(int(correct.sum()), n),
            qwk=kappa_estimate(confusion(opened.grades, model.predicted, classes)) if ordinal else NOT_ORDERED,
            difference=paired_difference(right[0], correct) if position else None,
        )
        for position, (model, correct) in enumerate(zip(opened.models, right, strict=True))
    )
    check = check_promise(opened.promise, int(right[0].sum()), n)
    return PromiseOnTest(opened.opened, n, check, models, opened.missing)
