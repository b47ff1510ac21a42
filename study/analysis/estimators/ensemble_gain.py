"""What an ensemble gains over its members, from predictions of several trainings for the same images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.estimators.intervals import LEVEL, Estimate


def ensemble_gain(
    probabilities: Sequence[NDArray[np.floating]], grades: NDArray[np.int64], members: int
) -> Estimate | None:
    """Estimate the accuracy of an ensemble minus the mean accuracy of its members.

    The gain of an ensemble of r members is measured on the out-of-fold predictions of r rounds, and averaged over
    configurations. An ensemble removes the share 1 - 1/r of the variance between members (Hansen & Salamon 1990), so
    that the gain of another number of members is taken to grow in proportion.

    Args:
        probabilities: of each configuration, shape (rounds, images, classes); only those with several rounds count.
        grades: true grades, shape (images,).
        members: of the ensemble.

    Returns:
        The gain with a normal interval over images; None if no configuration has two rounds.
    """
    gains = []
    for rounds in probabilities:
        if len(rounds) > 1:
            alone = (rounds.argmax(axis=2) == grades).mean(axis=0)
            together = rounds.astype(np.float64).mean(axis=0).argmax(axis=1) == grades
            gains.append((together - alone) * (1 - 1 / members) / (1 - 1 / len(rounds)))
    if not gains:
        return None
    by_image = np.mean(gains, axis=0)
    sd = float(by_image.std(ddof=1))
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * sd / len(by_image) ** 0.5
    mean = float(by_image.mean())
    return Estimate(mean, mean - reach, mean + reach, len(by_image), sd)
