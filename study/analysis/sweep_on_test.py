"""Test accuracy of the sweep's own trials, against their validation accuracy."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.analysis.estimators.agreement import rank_agreement
from study.analysis.estimators.intervals import Estimate, Withheld
from study.analysis.overtuning import Overtuning, overtuning
from study.analysis.selection import WinnersCurse, winners_curse


class SweepPoint(NamedTuple):
    """Accuracy of one completed trial at its best epoch."""

    trial: int
    depth: int
    validation: float
    test: float


class SweepOnTest(NamedTuple):
    """Validation against test accuracy of the sweep's completed trials, each at the epoch that validation chose."""

    winner: int
    """Trial with the highest validation accuracy (the first one on ties)."""
    n_images: int
    """Test images."""
    curse: WinnersCurse
    agreement: Estimate | Withheld
    """Kendall's tau-b of validation and test accuracy over the trials."""
    overtuning: Overtuning | Withheld
    points: tuple[SweepPoint, ...]


def sweep_on_test(
    trials: NDArray[np.int64],
    depths: NDArray[np.int64],
    right_validation: Sequence[NDArray[np.bool_]],
    right: NDArray[np.bool_],
) -> SweepOnTest | Withheld:
    """Compare the trials of a sweep on validation and on test images.

    Definitions and conditions are those of :func:`winners_curse`, :func:`rank_agreement` and :func:`overtuning`. Valid
    for test images that were opened only after the selection. Withheld without trials.

    Args:
        trials: numbers of the completed trials, ascending.
        depths: their depths, shape (trials,).
        right_validation: which validation images each gets right at its best epoch, shape (images,) for each trial.
            Trials may have other images, and another number of them.
        right: which test images, shape (trials, test images).
    """
    if not len(trials):
        return Withheld("no completed trial has stored predictions")
    validation, test = np.array([images.mean() for images in right_validation]), right.mean(axis=1)
    best = int(validation.argmax())
    counts = (int(right_validation[best].sum()), len(right_validation[best]), int(right[best].sum()), right.shape[1])
    return SweepOnTest(
        winner=int(trials[best]),
        n_images=right.shape[1],
        curse=winners_curse(*counts),
        agreement=rank_agreement(validation, test),
        overtuning=overtuning(trials, validation, right),
        points=tuple(
            SweepPoint(int(trial), int(depth), float(on_validation), float(on_test))
            for trial, depth, on_validation, on_test in zip(trials, depths, validation, test, strict=True)
        ),
    )
