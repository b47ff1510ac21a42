"""Selection and noise: known answers, other implementations, and simulated studies whose truth is known."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score

from benchmarks.simulations.base import measure, simulations
from benchmarks.simulations.synthetic_candidates import (
    as_candidates,
    draw_accuracies,
    draw_correct,
    draw_two_accuracies,
)
from study.analysis import Withheld
from study.analysis.estimators.agreement import rank_agreement, weighted_tau
from study.analysis.estimators.resampling import Candidates, resampled_weights, weighted_scores
from study.analysis.indistinguishable import indistinguishable_mask, indistinguishable_trials
from study.analysis.noise import detectable_difference, images_needed
from study.analysis.overtuning import incumbents, overtuning, overtuning_by_halves
from study.analysis.running import compare_running, noise_verdict
from study.analysis.selection import corrected_difference, corrected_selection, first_best, winners_curse

SIMULATIONS = {simulation.name: simulation for simulation in simulations()}


def draw_grades(seed=0, trials=30, images=60):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 5, (trials, images)).astype(np.int8), rng.integers(0, 5, images)


@pytest.mark.parametrize(
    ("metric", "metric_of_sklearn"),
    [
        ("accuracy", lambda truth, predicted, weights: np.average(truth == predicted, weights=weights)),
        ("balanced_accuracy", lambda *a: balanced_accuracy_score(*a[:2], sample_weight=a[2])),
        ("qwk", lambda *a: cohen_kappa_score(*a[:2], weights="quadratic", sample_weight=a[2])),
    ],
)
def test_weighted_scores_agree_with_scikit_learn(metric, metric_of_sklearn):
    predicted, grades = draw_grades()
    weights = resampled_weights(60, 4, seed=1)
    result = weighted_scores(predicted, grades, weights, metric)
    expected = [[metric_of_sklearn(grades, trial, row) for trial in predicted] for row in weights]
    assert result == pytest.approx(np.array(expected), abs=1e-5)


def test_resamples_have_as_many_images_as_the_set():
    weights = resampled_weights(83, 500, seed=0)
    assert (weights.sum(axis=1) == 83).all()
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 83) ** 83, abs=0.01)


def test_winners_curse_by_newcombe():
    result = winners_curse(56, 70, 48, 80)  # Newcombe 1998, table II, column (a), method 10
    assert result.difference[:3] == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert (result.validation.value, result.test.value) == (0.8, 0.6)


def test_one_clear_winner_is_hardly_corrected():
    correct = np.zeros((10, 80), dtype=bool)
    correct[3, :64] = True
    result = corrected_selection(as_candidates(correct))
    assert (result.observed, result.n_candidates) == (pytest.approx(0.8), 10)
    assert result.corrected.value == pytest.approx(0.8, abs=0.01)


def test_correction_removes_the_optimism_of_noise():
    result = [
        corrected_selection(as_candidates(draw_correct(np.random.default_rng(seed), np.full(50, 0.6), 83)), 200, seed)
        for seed in range(40)
    ]
    assert np.mean([x.observed for x in result]) > 0.66
    assert np.mean([x.corrected.value for x in result]) == pytest.approx(0.6, abs=0.03)
    assert all(x.optimism == pytest.approx(x.observed - x.corrected.value) for x in result)


def test_what_was_selected_by_another_metric_is_scored_by_accuracy():
    """The first of two candidates has the higher balanced accuracy, the second the higher accuracy."""
    grades = np.repeat([0, 1], [90, 10])
    predicted = np.array([np.where(grades == 1, 1, np.arange(100) < 30), np.zeros(100)], dtype=np.int8)
    candidates = Candidates(np.arange(2), predicted, grades, "balanced_accuracy")
    result = corrected_selection(candidates, scored_by="accuracy")
    assert result.observed == pytest.approx(0.7)
    assert result.corrected.value == pytest.approx(0.7, abs=0.01)
    assert corrected_selection(candidates).observed == pytest.approx(0.5 * (60 / 90 + 1))


def test_the_difference_of_two_selections_is_not_one_of_their_maxima():
    """The second study tried fifty times as many candidates of the same accuracy: it is not better for that."""
    differences, maxima, held = [], [], []
    for seed in range(40):
        correct = draw_correct(np.random.default_rng(seed), np.full(51, 0.6), 83)
        one, other = as_candidates(correct[:1]), as_candidates(correct[1:])
        difference = corrected_difference(one, other, 200, seed)
        differences.append(difference.value)
        maxima.append(correct[0].mean() - correct[1:].mean(axis=1).max())
        held.append(difference.low <= 0 <= difference.high)
    assert np.mean(maxima) < -0.07
    assert np.mean(differences) == pytest.approx(0, abs=0.025)
    assert np.mean(held) >= 0.9


def test_the_difference_of_two_selections_is_paired_by_image():
    correct = draw_correct(np.random.default_rng(0), np.full(10, 0.6), 83)
    result = corrected_difference(as_candidates(correct), as_candidates(correct))
    assert result == (0, 0, 0, 83, None)
    assert isinstance(corrected_difference(as_candidates(correct[:, :10]), as_candidates(correct[:, :10])), Withheld)


def test_a_selection_without_errors_is_uncertain():
    perfect = as_candidates(np.ones((3, 100), dtype=bool))
    corrected = corrected_selection(perfect).corrected
    assert (corrected.value, corrected.high) == (1, 1)
    assert 0.95 < corrected.low < 0.98
    difference = corrected_difference(perfect, perfect)
    assert difference.value == 0
    assert -0.05 < difference.low < -0.02 < 0.02 < difference.high < 0.05


def test_first_candidate_is_selected_on_ties():
    assert first_best(np.array([[0.5, 0.7, 0.7], [0.3, 0.3, 0.3]])).tolist() == [1, 0]


def test_incumbents_by_hand():
    assert incumbents(np.array([[0.5, 0.4, 0.6, 0.6, 0.7, 0.1]])).tolist() == [[0, 0, 2, 2, 4, 4]]


def test_overtuning_by_hand():
    # Test accuracies of the incumbents are 0.5, 0.8, 0.8 and 0.6 of ten images: two tenths lost of three gained.
    test_correct = np.arange(10) < np.array([5, 8, 10, 6])[:, None]
    result = overtuning([0, 2, 5, 6], [0.5, 0.6, 0.55, 0.7], test_correct)
    assert [step.outer for step in result.path] == pytest.approx([0.5, 0.8, 0.8, 0.6])
    assert [step.trial for step in result.path] == [0, 2, 5, 6]
    assert (result.overtuning.value, result.relative) == (pytest.approx(0.2), pytest.approx(2 / 3))


def test_planted_overtuning_is_distinguished_from_noise():
    rng = np.random.default_rng(0)
    accuracies = np.array([0.6, 0.8, 0.55])
    result = overtuning([0, 1, 2], [0.5, 0.6, 0.7], draw_correct(rng, accuracies, 400))
    assert 0 < result.overtuning.low < 0.25 < result.overtuning.high


def test_overtuning_by_halves_selects_steps_on_one_half_and_scores_on_the_other():
    rng = np.random.default_rng(0)
    result = overtuning_by_halves(as_candidates(draw_correct(rng, np.full(60, 0.5), 83), steps=3))
    assert len(result.path) == 20
    assert np.diff([step.inner for step in result.path]).min() >= 0
    assert result.path[-1].inner > 0.6
    assert result.path[-1].outer == pytest.approx(0.5, abs=0.12)
    assert result.overtuning.low is None


def test_search_that_deteriorates_is_beyond_chance():
    rng = np.random.default_rng(0)
    accuracies, optimistic = np.full(30, 0.8), np.linspace(0.6, 0.9, 30)
    accuracies[15:] = 0.5  # later trials look better on validation, and are worse
    result = overtuning(np.arange(30), optimistic, draw_correct(rng, accuracies, 200))
    assert result.overtuning.low > 0.1
    assert result.overtuning.value == pytest.approx(0.3, abs=0.08)


def test_rank_agreement_is_tau_b_with_an_interval():
    rng = np.random.default_rng(0)
    x, y = rng.integers(40, 60, 50) / 83, rng.integers(40, 60, 50) / 103
    result = rank_agreement(x, y)
    assert result.value == pytest.approx(weighted_tau(x, y, np.ones((1, 50), dtype=np.float32))[0])
    assert result.low < result.value < result.high


def test_weighted_tau_agrees_with_scipy_on_repeated_trials():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=20), rng.normal(size=20)
    weights = resampled_weights(20, 3, seed=0)
    repeated = [np.repeat(np.arange(20), row.astype(int)) for row in weights]
    expected = [stats.kendalltau(x[trials], y[trials]).statistic for trials in repeated]
    assert weighted_tau(x, y, weights) == pytest.approx(np.array(expected), abs=1e-6)


def test_two_trials_are_distinguished_about_where_mcnemar_does():
    correct = np.zeros((2, 200), dtype=bool)
    correct[:, 100:] = True
    result = indistinguishable_trials(as_candidates(correct | (np.arange(200) < np.array([[30], [0]]))))
    assert result.trials == (0,)
    assert result.critical == pytest.approx(1.96 * (0.15 * 0.85 / 200) ** 0.5, rel=0.1)  # 30 of 200 images differ


def test_equal_trials_are_indistinguishable():
    result = indistinguishable_trials(as_candidates(np.tile(np.arange(83) < 50, (5, 1))))
    assert result.trials == (0, 1, 2, 3, 4)


def test_all_of_the_best_trials_are_in_the_set():
    rng = np.random.default_rng(0)
    result = indistinguishable_trials(as_candidates(draw_correct(rng, np.repeat([0.3, 0.7], (40, 5)), 83)))
    assert set(result.trials) == {40, 41, 42, 43, 44}
    assert (len(result.compared), result.n_images) == (45, 83)


def test_hopeless_trials_do_not_widen_the_set():
    rng = np.random.default_rng(0)
    good = draw_correct(rng, draw_accuracies(rng, 10, mean=0.7, sd=0.02), 200)
    many = np.vstack([good, draw_correct(rng, np.full(190, 0.2), 200)])
    assert indistinguishable_trials(as_candidates(many)).critical == pytest.approx(
        indistinguishable_trials(as_candidates(good)).critical, abs=0.02
    )


def test_critical_difference_of_rivals_is_the_studentized_range():
    """Where no rival is left out, the first step is the range test of the model confidence set."""
    scores = np.array([0.6, 0.55, 0.5])
    replicas = scores + np.random.default_rng(0).normal(0, 0.05, (4000, 3))
    inside, critical = indistinguishable_mask(scores, replicas)
    assert inside.all()
    assert critical == pytest.approx(stats.studentized_range.ppf(0.955, 3, np.inf) * 0.05, rel=0.03)


def test_thousand_trials_are_compared():
    rng = np.random.default_rng(0)
    result = indistinguishable_trials(as_candidates(draw_correct(rng, draw_accuracies(rng, 1000), 83)))
    assert 1 <= len(result.trials) <= 1000


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("alike-noise-20-0.6", 200),
        ("alike-best", 50),
        ("alike-planted", 25),
        ("corrected-noise", 50),
        ("curse", 200),
        ("overtuning-covered", 40),
        ("overtuning-noise", 40),
        ("overtuning-halves-noise", 30),
        ("tau-spread", 40),
        ("stop-noise", 10),
        ("stop-early-5", 10),
    ],
)
def test_intervals_keep_their_level_in_simulated_studies(name, runs):
    """The tolerance is binomial: an interval at exactly its level fails here once in a thousand runs."""
    simulation = SIMULATIONS[name]
    hits = round(measure(simulation, runs, seed=0).value * runs)
    if simulation.promise != "at most":
        assert stats.binom.cdf(hits, runs, simulation.nominal) > 0.001
    if simulation.promise != "at least":
        assert stats.binom.sf(hits - 1, runs, simulation.nominal) > 0.001


def test_images_needed_inverts_detectable_difference():
    for n, q in ((83, 0.3), (500, 0.2), (2000, 0.4)):
        assert images_needed(detectable_difference(n, q), q) == pytest.approx(n, abs=1)
    assert images_needed(0.02, 0.2) > images_needed(0.05, 0.2) > images_needed(0.10, 0.2)
    with pytest.raises(ValueError, match="difference of 0"):
        images_needed(0, 0.2)


def test_running_comparison_has_the_first_best_trial_and_its_interval():
    correct = np.arange(83) < np.array([[40], [60], [60], [5]])
    result = compare_running(correct)
    assert (result.position, result.best.value, result.n_trials) == (1, 60 / 83, 4)
    assert result.indistinguishable == 2
    assert compare_running(correct[:0]) is None


def test_noise_stops_the_study_and_a_better_trial_does_not():
    rng = np.random.default_rng(0)
    noise = draw_correct(rng, np.full(70, 0.55), 83)
    assert noise_verdict(noise).stop
    assert "83 images" in noise_verdict(noise).reason
    assert noise_verdict(noise[:40]) == (False, "40 trials have finished, the rule needs 60")
    better = noise.copy()
    better[65] = draw_correct(rng, [0.99], 83)[0]
    assert not noise_verdict(better).stop
    assert "better than the best before" in noise_verdict(better).reason


def test_ten_best_trials_that_differ_do_not_stop_the_study():
    correct = np.arange(200) < np.concatenate([np.linspace(60, 180, 30), np.full(60, 50)])[:, None]
    result = noise_verdict(correct)
    assert not result.stop
    assert "points apart" in result.reason


def test_simulated_share_of_better_trials_is_as_asked():
    accuracies = draw_two_accuracies(np.random.default_rng(0), 1000, 0.1, gain=0.2)
    assert (accuracies == accuracies.max()).mean() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("statistic", "reason"),
    [
        (lambda: corrected_selection(as_candidates(np.ones((1, 83), dtype=bool))), "nothing to select"),
        (lambda: corrected_selection(as_candidates(np.ones((5, 10), dtype=bool))), "at least 20 validation"),
        (lambda: indistinguishable_trials(as_candidates(np.ones((1, 83), dtype=bool))), "only one trial"),
        (lambda: indistinguishable_trials(as_candidates(np.ones((5, 10), dtype=bool))), "at least 20 validation"),
        (lambda: overtuning([0], [0.5], np.ones((1, 9), dtype=bool)), "no earlier incumbent"),
        (lambda: overtuning_by_halves(as_candidates(np.ones((3, 83), dtype=bool), steps=3)), "no earlier incumbent"),
        (lambda: overtuning_by_halves(as_candidates(np.ones((5, 30), dtype=bool))), "at least 40 validation"),
        (lambda: rank_agreement(range(9), range(9)), "at least 10 trials"),
        (lambda: rank_agreement(range(10), np.ones(10)), "same score"),
    ],
)
def test_invalid_statistics_are_withheld_with_the_reason(statistic, reason):
    result = statistic()
    assert isinstance(result, Withheld)
    assert reason in result.reason


def test_candidates_score_with_the_metric_of_the_study():
    predicted, grades = draw_grades()
    scores = Candidates(np.arange(30), predicted, grades, "qwk").scores(np.ones((1, 60), dtype=np.float32))
    assert scores[0, 0] == pytest.approx(cohen_kappa_score(grades, predicted[0], weights="quadratic"), abs=1e-5)
