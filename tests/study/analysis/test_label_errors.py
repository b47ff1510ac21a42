import numpy as np
import pytest
from cleanlab.count import get_confident_thresholds
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from study.analysis import Withheld
from study.analysis.label_errors import (
    OutOfSamplePredictions,
    collect_predictions,
    confident_grades,
    find_label_errors,
    label_p_values,
    normalized_margins,
)

COUNTS = (27, 4, 27, 15, 10)
seeds = st.integers(0, 2**32 - 1)


def draw_predictions(seed, counts=COUNTS, sharpness=1.5):
    """Given grades and the probabilities of one training that predicts them better than chance."""
    rng = np.random.default_rng(seed)
    grades = np.repeat(np.arange(len(counts)), counts)
    logits = rng.normal(0, 1, (len(grades), len(counts))) + sharpness * np.eye(len(counts))[grades]
    return grades, special.softmax(logits, axis=1)


def draw_trials(seed, trials=10, sharpness=5.0, wrong=(), counts=COUNTS):
    """Trials that agree with each other and with the truth; some images are given a wrong grade."""
    grades, first = draw_predictions(seed, counts, sharpness)
    rng = np.random.default_rng([seed, 1])
    logits = np.log(first)[None] + rng.normal(0, 0.5, (trials, *first.shape))
    given = grades.copy()
    given[list(wrong)] = (grades[list(wrong)] + 2) % 5
    ids = tuple(f"train/{n:03d}" for n in range(len(grades)))
    return OutOfSamplePredictions(ids, given, special.softmax(logits, axis=2))


@settings(max_examples=25)
@given(seeds)
def test_margins_agree_with_cleanlab(seed):
    grades, probabilities = draw_predictions(seed)
    expected = get_label_quality_scores(grades, probabilities, method="normalized_margin")
    assert normalized_margins(grades, probabilities) == pytest.approx(expected)


@settings(max_examples=25)
@given(seeds, st.sampled_from([COUNTS, (40, 40), (30, 1, 20, 20, 5)]))
def test_suspect_images_agree_with_cleanlab(seed, counts):
    grades, probabilities = draw_predictions(seed, counts)
    expected = find_label_issues(grades, probabilities, filter_by="confident_learning", n_jobs=1)
    proposed = confident_grades(grades, probabilities)
    assert np.array_equal((proposed >= 0) & (proposed != grades) & (probabilities.argmax(axis=1) != grades), expected)


def test_an_image_below_all_thresholds_is_assigned_no_grade():
    grades, probabilities = draw_predictions(0)
    thresholds = get_confident_thresholds(grades, probabilities)
    below = (probabilities < thresholds).all(axis=1)
    assert below.any()
    assert np.array_equal(confident_grades(grades, probabilities) == -1, below)


def test_margins_and_p_values_by_hand():
    grades, probabilities = np.array([0, 1]), np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    assert normalized_margins(grades, probabilities) == pytest.approx([0.75, 0.25])
    assert label_p_values(grades, probabilities) == pytest.approx([1.0, 0.3])


@settings(max_examples=10)
@given(seeds)
def test_p_values_of_correct_grades_keep_their_level(seed):
    rng = np.random.default_rng(seed)
    probabilities = special.softmax(rng.normal(0, 2, (2000, 5)), axis=1)
    grades = (probabilities.cumsum(axis=1) < rng.random((2000, 1))).sum(axis=1).clip(0, 4)
    p_values = label_p_values(grades, probabilities)
    for level in (0.01, 0.05, 0.2):
        hits = int((p_values <= level).sum())
        assert stats.binom.sf(hits - 1, 2000, level) > 1e-5


def test_planted_wrong_grades_are_found_with_the_correct_ones_proposed():
    wrong = (0, 30, 40, 60)
    predictions = draw_trials(3, wrong=wrong)
    result = find_label_errors(predictions)
    assert (result.n_images, result.n_trials) == (83, 10)
    planted = {suspect.id: suspect for suspect in result.suspects if suspect.id in {predictions.ids[n] for n in wrong}}
    assert len(planted) == len(result.suspects) == result.otherwise == len(wrong)
    true = np.repeat(np.arange(5), COUNTS)
    for n in wrong:
        suspect = planted[predictions.ids[n]]
        assert (suspect.grade, suspect.proposed, suspect.trials) == (predictions.grades[n], true[n], 10)
        assert suspect.agree > 5
        assert suspect.given_probability.value < suspect.proposed_probability.value


def test_one_wrong_grade_among_many_correct_ones_is_beyond_chance():
    result = find_label_errors(draw_trials(0, wrong=(5,), counts=(108, 16, 108, 60, 40)))
    assert [(suspect.id, suspect.beyond_chance) for suspect in result.suspects] == [("train/005", True)]
    assert result.beyond_chance == 1


def test_errors_of_the_trials_are_not_beyond_chance():
    result = find_label_errors(draw_trials(0, sharpness=2.0))
    assert result.suspects
    assert result.beyond_chance == 0


def test_most_suspect_come_first():
    margins = [suspect.margin for suspect in find_label_errors(draw_trials(0, sharpness=2.0)).suspects]
    assert len(margins) > 1
    assert margins == sorted(margins)
    assert all(margin < 0.5 for margin in margins)


def test_trials_that_disagree_make_no_suspect():
    predictions = draw_trials(3, wrong=(0,))
    probabilities = predictions.probabilities.copy()
    for trial in range(10):
        probabilities[trial, 0] = 0.02
        probabilities[trial, 0, 1 + trial % 4] = 0.92
    assert predictions.ids[0] not in {
        suspect.id for suspect in find_label_errors(predictions._replace(probabilities=probabilities)).suspects
    }


def test_images_with_few_out_of_sample_predictions_are_left_out():
    predictions = draw_trials(5, wrong=(0, 40))
    probabilities = predictions.probabilities.copy()
    probabilities[:6, 0] = np.nan  # four trials left
    probabilities[:3, 40] = np.nan
    result = find_label_errors(predictions._replace(probabilities=probabilities))
    suspects = {suspect.id: suspect for suspect in result.suspects}
    assert result.n_images == 82
    assert predictions.ids[0] not in suspects
    assert suspects[predictions.ids[40]].trials == 7


def test_predictions_of_different_splits_are_combined():
    first = (["a", "b"], np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    second = (["c", "b"], np.array([1, 1]), np.array([[0.3, 0.7], [0.4, 0.6]]))
    result = collect_predictions([first, second])
    assert result.ids == ("a", "b", "c")
    assert result.grades.tolist() == [0, 1, 1]
    assert result.probabilities[:, 1].tolist() == [[0.2, 0.8], [0.4, 0.6]]
    assert np.isnan(result.probabilities[:, :, 0]).tolist() == [[False, False, True], [True, False, False]]


def test_collecting_no_trial_is_an_error():
    with pytest.raises(ValueError, match="no trial"):
        collect_predictions([])


@pytest.mark.parametrize(
    ("predictions", "reason"),
    [
        (draw_trials(0, trials=4), "agreement needs at least 5 trials with stored predictions, there are 4"),
        (
            draw_trials(0, sharpness=0.0),
            "the best trials do not surely predict better than the most common class does every time",
        ),
        (
            OutOfSamplePredictions(("a",), np.array([0]), np.full((5, 1, 2), 0.5)),
            "confident learning needs at least 30 images, there are 1",
        ),
    ],
)
def test_label_errors_are_withheld_with_the_reason(predictions, reason):
    result = find_label_errors(predictions)
    assert isinstance(result, Withheld)
    assert result.reason.startswith(reason)
