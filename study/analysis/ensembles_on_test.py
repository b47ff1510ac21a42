"""What mixtures of a sweep's best trials score on the test images, once these are open."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.metrics import confusion
from study.analysis.estimators.calibration import cross_entropy, normalized
from study.analysis.estimators.grading import kappa_estimate
from study.analysis.estimators.intervals import Estimate, bootstrap_mean, proportion
from study.analysis.estimators.paired import PairedDifference, paired_difference


class EnsembleOnTest(NamedTuple):
    """One mixture, as it was chosen on validation images."""

    name: str
    trials: tuple[int, ...]
    alpha: float | None
    """Of an interpolation: 0 is the pretrained backbone; None for the tuned weights themselves."""
    accuracy: Estimate
    """With Wilson's interval."""
    qwk: Estimate
    nll: Estimate
    """Mean cross-entropy in nats, bootstrap over images."""
    difference: PairedDifference | None
    """Against the best single trial; None for that trial itself."""
    nll_difference: Estimate | None
    """Likewise, below 0 where the mixture is better; bootstrap over images."""


class EnsemblesOnTest(NamedTuple):
    """All mixtures on the test images; the first one is the best single trial."""

    n_images: int
    scores: tuple[EnsembleOnTest, ...]


def ensembles_on_test(
    recipes: Sequence[Mapping[str, Any]], grades: NDArray[np.int64], probabilities: NDArray[np.floating]
) -> EnsemblesOnTest:
    """Score mixtures on test images that chose neither them nor what they are made of.

    Valid once the test images are open; intervals hold for these trained networks, each by itself: of many, some leave
    zero out by chance.

    Args:
        recipes: name, trials and alpha of each mixture, the best single trial first.
        grades: true grades, shape (images,).
        probabilities: class probabilities, shape (mixtures, images, grades).
    """
    said = normalized(probabilities)
    right, losses = said.argmax(axis=2) == grades, [cross_entropy(grades, one) for one in said]
    scores = []
    for place, recipe in enumerate(recipes):
        counts = confusion(grades, said[place].argmax(axis=1), said.shape[2])
        scores.append(
            EnsembleOnTest(
                name=recipe["name"],
                trials=tuple(recipe["trials"]),
                alpha=recipe["alpha"],
                accuracy=proportion(int(right[place].sum()), len(grades)),
                qwk=kappa_estimate(counts),
                nll=bootstrap_mean(losses[place]),
                difference=paired_difference(right[place], right[0]) if place else None,
                nll_difference=bootstrap_mean(losses[place] - losses[0]) if place else None,
            )
        )
    return EnsemblesOnTest(len(grades), tuple(scores))
