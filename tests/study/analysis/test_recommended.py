"""The trainings at the recommended depth."""

import pytest
from optuna.trial import TrialState

from study.analysis import Withheld
from study.analysis.evidence import find_evidence, read_verdict
from study.analysis.recommended import read_recommended
from study.analysis.summary import summarize
from study.results.study_results import read_study


@pytest.fixture(scope="module")
def study(make_study, add_graded_finalists, tmp_path_factory):
    results = make_study(tmp_path_factory.mktemp("deep"), "deep", [TrialState.COMPLETE] * 6, goal="depth")
    add_graded_finalists(results, "deep")
    return read_study("deep", results)


def test_the_epoch_that_the_other_folds_choose_is_compared_with_the_last(study):
    assert read_verdict(study).recommended_depth == 5
    recommended = read_recommended(study, find_evidence(study), 5)
    assert (recommended.depth, recommended.rounds, len(recommended.kept)) == (5, 2, 10)
    assert len({each.trial for each in recommended.kept}) == 10
    assert {(each.epoch, each.last_epoch) for each in recommended.kept} == {(4, 6)}
    for each in recommended.kept:
        assert (each.accuracy, each.accuracy_last) == pytest.approx((0.8, 0.7))
    assert recommended.gain.value == pytest.approx(0.1)


def test_curve_and_predictions_are_those_of_the_depth(study):
    shallow, deep = read_recommended(study, find_evidence(study), 0), read_recommended(study, find_evidence(study), 5)
    assert (deep.curve.depth, deep.curve.n, deep.curve.head_steps) == (5, 10, 2)
    assert [median for _, median, _ in deep.curve.validation] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.6, 0.7])
    assert deep.grading.n == shallow.grading.n == 100
    assert deep.grading.accuracy.value > shallow.grading.accuracy.value
    assert deep.grading.recall[1].value == 0


def test_a_depth_that_is_not_cross_validated_has_none(study):
    assert read_recommended(study, find_evidence(study), 3) == Withheld("depth 3 is not cross-validated")


def test_labels_are_checked_by_networks_that_were_not_trained_on_their_image(study):
    suspects = summarize(study).suspects
    assert (suspects.n_images, suspects.n_trials) == (100, 6)  # three depths in two rounds
