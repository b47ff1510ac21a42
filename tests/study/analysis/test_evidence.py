"""The evidence for the verdict: out-of-fold results, at epochs that the other folds choose."""

import numpy as np
import pytest

from study.analysis.evidence import FoldTraining, out_of_fold


def fold(names, right, scores, gaps=(0.1, 0.2, 0.3)):
    """Return a training that is right (1) or wrong (0) for each image (columns) after each epoch (rows)."""
    right = np.array(right, dtype=float)
    probabilities = np.stack([1 - right, right], axis=-1) * 0.8 + 0.1
    return FoldTraining(
        tuple(names), np.ones(len(names), dtype=np.int64), probabilities, np.array(scores), np.array(gaps), 7
    )


FOLDS = [
    fold("ab", [[1, 1], [0, 0], [0, 0]], [1.0, 0.0, 0.0]),
    fold("cd", [[0, 0], [1, 1], [0, 0]], [0.0, 1.0, 0.0]),
    fold("ef", [[0, 0], [0, 1], [1, 1]], [0.0, 0.5, 1.0]),
]


def test_no_fold_chooses_its_own_epoch():
    """Each fold is perfect at its own best epoch, and at no epoch that the others choose."""
    evidence, _ = out_of_fold([FOLDS], list("abcdef"), depth=3, depth_fraction=0.5, trainable_fraction=0.4)
    assert evidence.epochs == (2, 1, 1)  # the first of equally good ones
    assert evidence.correct.tolist() == [[False] * 6]
    assert evidence.gaps.tolist() == [0.2, 0.1, 0.1]
    assert evidence.gaps_last.tolist() == [0.3, 0.3, 0.3]


def test_every_image_is_predicted_once_in_each_round_in_the_given_order():
    names = list("fedcba")
    evidence, probabilities = out_of_fold([FOLDS, FOLDS[::-1]], names, 3, 0.5, 0.4)
    assert evidence.correct.shape == (2, 6)
    assert evidence.folds.tolist() == [[2, 2, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2]]
    assert probabilities.shape == (2, 6, 2)
    assert probabilities.sum(axis=2) == pytest.approx(np.ones((2, 6)))
    assert ((probabilities.argmax(axis=2) == 1) == evidence.correct).all()
    assert len(evidence.gaps) == len(evidence.epochs) == len(evidence.trials) == 6


def test_an_epoch_that_all_folds_prefer_is_chosen():
    same = [fold(names, [[0, 0], [1, 0], [0, 0]], [0.0, 0.5, 0.0]) for names in ("ab", "cd", "ef")]
    evidence, _ = out_of_fold([same], list("abcdef"), 3, 0.5, 0.4)
    assert evidence.epochs == (2, 2, 2)
    assert evidence.correct.mean() == 0.5
