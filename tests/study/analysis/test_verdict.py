"""The verdict: on simulated cross-validations whose truth is known."""

import numpy as np
import pytest

from benchmarks.simulations.verdict import (
    accuracies_covered,
    contrasts_covered,
    cross_validate,
    flat,
    gaps_covered,
    peaked,
    rising,
)
from study.analysis.estimators.depth_curve import fit_depth_curve
from study.analysis.estimators.ensemble_gain import ensemble_gain
from study.analysis.estimators.intervals import Estimate
from study.analysis.verdict import DepthContrast, DepthEvidence, accuracy_covariance, decide_depth
from study.analysis.verdict_text import verdict_lines


def simulated(curve, seed=0, **sizes):
    rng = np.random.default_rng(seed)
    return cross_validate(rng, curve(rng), **sizes)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """A few runs of each; ``python -m benchmarks.coverage --only verdict`` makes hundreds."""
    runs = [simulated(curve, seed) for curve in (flat, rising, peaked) for seed in range(8)]
    verdicts = [decide_depth(run.evidence) for run in runs]
    pairs = list(zip(verdicts, runs, strict=True))
    assert np.mean([accuracies_covered(*pair) for pair in pairs]) > 0.8
    assert np.mean([gaps_covered(*pair) for pair in pairs]) > 0.8
    assert np.mean([held for pair in pairs for held in contrasts_covered(*pair)]) > 0.85


def test_the_shallowest_depth_that_is_good_enough_is_recommended():
    data = simulated(lambda _: np.array([0.0, 1.2, 1.2, 1.2]), images=4000, repeats=4)
    verdict = decide_depth(data.evidence)
    assert verdict.recommended_depth == 1
    assert verdict.certain
    (head, *_) = verdict.contrasts
    assert (head.other, head.other_depth) == ("head alone", 0)
    assert head.difference.low > 0.1
    assert verdict.by_depth[0].probability_best < 0.01
    assert sum(verdict.probability_best.values()) == pytest.approx(1)


def test_with_few_images_the_depth_with_the_smallest_expected_loss_is_recommended_and_nothing_is_certain():
    verdict = decide_depth(simulated(flat, images=40).evidence)
    assert not verdict.certain
    assert verdict.undecided.depths
    assert verdict.undecided.images is None or verdict.undecided.images > 40


def test_a_larger_tolerance_recommends_no_deeper_a_depth():
    evidence = simulated(rising).evidence
    recommended = [decide_depth(evidence, tolerance=tolerance) for tolerance in (0.02, 0.05, 0.5)]
    sure = [verdict.recommended_depth for verdict in recommended if verdict.certain]
    assert sure == sorted(sure, reverse=True)
    assert recommended[-1].recommended_depth == 0


def test_other_models_are_compared_on_the_same_images():
    data = simulated(rising)
    best = data.evidence[-1]
    verdict = decide_depth(data.evidence, untuned=data.evidence[0], floor=~best.correct[0])
    contrasts = {contrast.other: contrast for contrast in verdict.contrasts}
    assert contrasts["untuned"].difference.value == pytest.approx(contrasts["head alone"].difference.value, abs=0.05)
    assert contrasts["untuned"].difference.low > 0
    # Where a model errs exactly where the other does not, their difference varies more than with independent errors.
    wide = contrasts["linear model"].difference
    independent = np.sqrt(2 * 0.25 / len(best.correct[0]))
    assert wide.high - wide.low > 2 * 1.96 * independent


def test_the_promise_is_the_accuracy_and_the_gain_of_the_ensemble():
    data = simulated(rising)
    alone = decide_depth(data.evidence)
    assert alone.promise[:3] == (alone.accuracy.value, alone.accuracy.low, alone.accuracy.high)
    gain = Estimate(0.02, 0.01, 0.03, 413)
    together = decide_depth(data.evidence, gains=lambda members: gain if members == 5 else None)
    assert together.promise.value == pytest.approx(alone.accuracy.value + 0.02)
    assert together.promise.high - together.promise.low > alone.accuracy.high - alone.accuracy.low


def test_the_gain_of_an_ensemble_is_found_and_extrapolated():
    """Members are right when the image's and their own noise are: the gain of five is known from many images."""
    rng = np.random.default_rng(0)
    images = 200_000
    logits = rng.normal(0.3, 1, images) + rng.normal(0, 1, (5, images))
    probabilities = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=-1)
    grades = np.ones(images, dtype=np.int64)
    true = (probabilities.mean(axis=0).argmax(axis=1) == grades).mean() - (logits > 0).mean()
    two = ensemble_gain([probabilities[:2]], grades, 5)
    assert two.value == pytest.approx(true, abs=0.006)
    assert two.low < two.value < two.high
    assert ensemble_gain([probabilities[:1]], grades, 5) is None


@pytest.mark.parametrize("wrong", [0, 1, 99])
def test_accuracies_near_their_limits_are_uncertain_and_stay_within_them(wrong):
    correct = np.arange(100)[None] >= wrong
    folds, gaps = np.arange(100)[None] % 5, np.full(5, 0.1)
    evidence = [DepthEvidence(depth, depth / 2, depth / 2, correct, folds, gaps, gaps) for depth in range(3)]
    gain = Estimate(0.01, 0.0, 0.02, 100)
    verdict = decide_depth(evidence, gains=lambda _members: gain)
    for accuracy in (verdict.accuracy, *(row.accuracy for row in verdict.by_depth), verdict.promise):
        assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
        assert 0.015 < accuracy.high - accuracy.low < 0.08
        assert accuracy.low <= 1 - wrong / 100 <= accuracy.high


def test_more_images_are_not_asked_for_than_there_are():
    """Of 3,000 images, 700 would show a difference of the tolerance, but not that a loss is just below it."""
    for seed in range(4):
        evidence = simulated(lambda _: np.array([0.0, 0.38, 0.38, 0.38]), seed, images=3000, repeats=2).evidence
        undecided = decide_depth(evidence).undecided
        assert undecided.images is None or undecided.images > 3000


def test_with_many_images_no_more_trainings_are_asked_for_than_decide():
    asked = []
    for seed in range(6):
        evidence = simulated(lambda _: np.array([0.0, 0.38, 0.4, 0.5]), seed, images=40_000).evidence
        asked.append(decide_depth(evidence).undecided.trainings)
    assert any(asked)
    assert all(trainings is None or trainings < 100 for trainings in asked)


def test_rounds_add_certainty():
    once, thrice = (decide_depth(simulated(rising, repeats=repeats).evidence) for repeats in (1, 3))
    assert thrice.by_depth[4].trainings == 3 * once.by_depth[4].trainings
    width_once, width_thrice = (v.by_depth[4].accuracy.high - v.by_depth[4].accuracy.low for v in (once, thrice))
    assert width_thrice < width_once


def test_the_deviation_between_trainings_is_found():
    covariances = [accuracy_covariance(simulated(flat, seed, images=2000).evidence) for seed in range(6)]
    # 0.08 on the latent scale is this much in accuracy, times the density of the latent sum at the threshold.
    assert np.mean([sd for _, sd in covariances]) == pytest.approx(0.08 * 0.26, rel=0.4)
    assert all(np.linalg.eigvalsh(covariance).min() >= -1e-12 for covariance, _ in covariances)


def test_two_depths_are_enough():
    verdict = decide_depth(simulated(lambda _: np.array([0.0, 1.0])).evidence)
    assert verdict.recommended_depth == 1


def test_a_curve_through_exact_means_is_those_means():
    means = np.array([0.5, 0.55, 0.6, 0.61])
    curve = fit_depth_curve(np.linspace(0, 1, 4), means, np.eye(4) * 1e-10)
    assert curve.mean == pytest.approx(means, abs=1e-3)
    assert curve.others.shape == (len(curve.draws), 0)


def test_a_curve_through_noise_is_shrunken_towards_its_neighbours():
    means = np.array([0.5, 0.5, 0.6, 0.5, 0.5])
    curve = fit_depth_curve(np.linspace(0, 1, 5), means, np.eye(5) * 0.05**2)
    assert 0.5 < curve.mean[2] < 0.55
    low, high = curve.simultaneous()
    assert ((low < means) & (means < high)).all()


def test_the_head_alone_is_drawn_less_towards_its_neighbours_than_all_blocks():
    means = np.array([0.5, 0.6, 0.6, 0.6, 0.6])
    low_first = fit_depth_curve(np.linspace(0, 1, 5), means, np.eye(5) * 0.03**2)
    low_last = fit_depth_curve(np.linspace(0, 1, 5), means[::-1], np.eye(5) * 0.03**2)
    assert low_first.mean[0] < low_last.mean[4] - 0.01


def test_the_lines_say_depth_accuracy_gains_cost_and_what_is_open():
    data = simulated(rising)
    text = "\n".join(verdict_lines(decide_depth(data.evidence, untuned=data.evidence[0])))
    assert text.startswith("Train ")
    assert "of 8 blocks" in text
    assert "Expected accuracy on new images" in text
    assert "over the head alone" in text
    assert "over the untuned configuration" in text
    assert "at the epoch that is kept" in text
    assert "Not decided" in text


def test_a_depth_with_two_names_is_compared_once():
    verdict = decide_depth(simulated(rising).evidence)
    contrasts = [
        DepthContrast(name, depth, Estimate(0.01, -0.02, 0.04, 400), 0.8)
        for name, depth in (("head alone", 0), ("all blocks", 8), ("best depth", 8), ("untuned", None))
    ]
    (gain,) = [line for line in verdict_lines(verdict._replace(contrasts=contrasts)) if "+1.0" in line]
    assert gain.count("+1.0 points") == 3
    assert "over all blocks (more often the best), +1.0" in gain
    assert "against depth" not in gain
