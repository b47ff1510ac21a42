"""The evidence for the verdict: out-of-fold results, at epochs that the other folds choose."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from study.analysis import Withheld
from study.analysis.evidence import FoldTraining, out_of_fold, read_verdict
from study.analysis.verdict_text import verdict_lines
from study.results.study_results import read_study


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


FIRST_ROUND = 20
"""Trainings of three depths and the untuned configuration in five folds."""


@pytest.fixture
def deep(make_study, add_finalists, tmp_path):
    place = make_study(tmp_path, "deep", goal="depth")
    add_finalists(place, "deep", (0.4, 0.5, 0.8))
    return place


def failed(trial, kind):
    attributes = {"place": trial.user_attrs["place"], "fail_kind": kind, "fail_reason": "bad luck"}
    return optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=attributes)


def test_there_is_no_verdict_before_all_depths_are_cross_validated(deep, change_finalists):
    """The longest trainings come first: the two deepest depths would be complete, and one of them recommended."""
    shallow = [0, 4, 8]
    change_finalists(deep, "deep", lambda trial: None if trial.user_attrs["place"] in shallow else trial)
    verdict = read_verdict(read_study("deep", deep))
    assert verdict == Withheld(f"the cross-validation lacks 3 of its first {FIRST_ROUND} trainings: resume the run")


def test_a_second_round_that_is_not_complete_counts_for_nothing(deep, change_finalists):
    before = read_verdict(read_study("deep", deep))
    assert (before.recommended_depth, before.promise.members, len(before.trials)) == (2, 10, 10)
    change_finalists(
        deep, "deep", lambda trial: failed(trial, "diverged") if trial.user_attrs["place"] == FIRST_ROUND + 2 else trial
    )
    verdict = read_verdict(read_study("deep", deep))
    assert verdict.recommended_depth == 2
    assert verdict.trials == (2, 6, 10, 14, 18)  # and not the four of the second round
    assert verdict.promise.members == 5


@pytest.mark.parametrize("kind", ["diverged", "memory"])
def test_a_depth_whose_training_cannot_end_is_named(deep, change_finalists, kind):
    change_finalists(deep, "deep", lambda trial: failed(trial, kind) if trial.user_attrs["place"] in {5, 25} else trial)
    verdict = read_verdict(read_study("deep", deep))
    assert [row.depth for row in verdict.by_depth] == [0, 2]
    assert verdict.left_out == (1,)
    assert verdict_lines(verdict)[-1] == "  Depth 1 is left out: its cross-validation is not complete."


def test_too_few_depths_name_the_cause_and_advise_only_what_helps(deep, change_finalists):
    def end(places, kind):
        change_finalists(
            deep, "deep", lambda trial: failed(trial, kind) if trial.user_attrs["place"] in places else trial
        )
        return read_verdict(read_study("deep", deep))

    reason = "fewer than two depths are cross-validated, since of their trainings 4 diverged"
    assert end({0, 1, 20, 21}, "diverged") == Withheld(reason)
    assert end({22}, "memory") == Withheld(f"{reason} and 1 failed: resume the run")
