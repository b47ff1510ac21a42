"""Scores agree with those of scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, log_loss

from drft.metrics import confusion, qwk, score

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60)


def log_probabilities(predicted: np.ndarray, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(len(predicted), 5)).astype(np.float32)
    logits[np.arange(len(predicted)), predicted] = logits.max(axis=1) + 1
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@given(pairs)
def test_scores_agree_with_scikit_learn(pairs):
    grades, predicted = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    outputs = log_probabilities(predicted)
    scores = score(outputs, grades)
    assert scores.accuracy == pytest.approx(np.mean(grades == predicted))
    assert scores.loss == pytest.approx(log_loss(grades, np.exp(outputs), labels=range(5)), rel=1e-4)
    recalls = [np.mean(predicted[grades == grade] == grade) for grade in set(grades.tolist())]
    assert scores.balanced_accuracy == pytest.approx(np.mean(recalls))
    if set(grades.tolist()) >= set(predicted.tolist()):
        assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(grades, predicted))
    if len(set(grades.tolist()) | set(predicted.tolist())) > 1:
        expected = cohen_kappa_score(grades, predicted, weights="quadratic", labels=list(range(5)))
        assert scores.qwk == pytest.approx(expected, abs=1e-9)


def test_kappa_is_one_for_perfect_and_zero_where_undefined():
    grades = np.array([0, 1, 2, 3, 4, 2])
    assert qwk(confusion(grades, grades, 5)) == 1
    constant = np.full(4, 2)
    assert qwk(confusion(constant, constant, 5)) == 0


def test_scoring_no_image_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        score(np.empty((0, 5), dtype=np.float32), np.empty(0, dtype=np.int64))
