"""Test scores of the ensembles that ``drft-study soup`` made of a sweep's best trials."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.metrics import confusion
from study.analysis.estimators.calibration import cross_entropy, normalized
from study.analysis.estimators.grading import NOT_ORDERED, kappa_estimate
from study.analysis.estimators.intervals import Estimate, Withheld, bootstrap_mean, proportion
from study.analysis.estimators.paired import PairedDifference, paired_difference


class EnsembleOnTest(NamedTuple):
    """One ensemble or weight average, as it was chosen on validation images."""

    name: str
    trials: tuple[int, ...]
    alpha: float | None
    """Of an interpolation: 0 is the pretrained backbone; None for the tuned weights themselves."""
    accuracy: Estimate
    """With Wilson's interval."""
    qwk: Estimate | Withheld
    nll: Estimate
    """Mean cross-entropy in nats, bootstrap over images."""
    difference: PairedDifference | None
    """Against the best single trial; None for that trial itself."""
    nll_difference: Estimate | None
    """Likewise in cross-entropy, below 0 where the ensemble is better; bootstrap over images."""


class EnsemblesOnTest(NamedTuple):
    """All ensembles on the test images; the first one is the best single trial."""

    n_images: int
    scores: tuple[EnsembleOnTest, ...]


def ensembles_on_test(
    recipes: Sequence[Mapping[str, Any]],
    grades: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    *,
    ordinal: bool = True,
) -> EnsemblesOnTest:
    """Estimate the test scores of ensembles, and their differences to the best single trial.

    Valid for test images that chose neither the ensembles nor their members. Intervals hold for these trained networks,
    each by itself: of many intervals, some exclude zero by chance. Below five images there is no bootstrap interval,
    below twenty none of kappa.

    Args:
        recipes: name, trials and alpha of each ensemble, the best single trial first.
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (ensembles, images, grades).
        ordinal: whether the classes are ordered; else there is no kappa.
    """
    shares = normalized(probabilities)
    right, losses = shares.argmax(axis=2) == grades, [cross_entropy(grades, ensemble) for ensemble in shares]
    scores = []
    for index, recipe in enumerate(recipes):
        counts = confusion(grades, shares[index].argmax(axis=1), shares.shape[2])
        scores.append(
            EnsembleOnTest(
                name=recipe["name"],
                trials=tuple(recipe["trials"]),
                alpha=recipe["alpha"],
                accuracy=proportion(int(right[index].sum()), len(grades)),
                qwk=kappa_estimate(counts) if ordinal else NOT_ORDERED,
                nll=bootstrap_mean(losses[index]),
                difference=paired_difference(right[index], right[0]) if index else None,
                nll_difference=bootstrap_mean(losses[index] - losses[0]) if index else None,
            )
        )
    return EnsemblesOnTest(len(grades), tuple(scores))
