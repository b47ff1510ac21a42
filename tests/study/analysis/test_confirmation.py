import numpy as np
import pytest

from drft.metrics import confusion, qwk
from study.analysis import Withheld
from study.analysis.confirmation import score_retrained
from study.analysis.estimators.two_way_means import MeanWithVariance, crossed_mean, ratio
from study.results.retrained import RetrainedConfig

GRADES = np.arange(60) % 5
N_VALIDATION = 83


def retrained(name, predicted, trial=None, sweep=None, validation=None, draws=None, diverged=0):
    n = len(predicted)
    return RetrainedConfig(
        name=name,
        trial=trial,
        depth=2,
        draws=tuple(range(n)) if draws is None else draws,
        diverged=diverged,
        validation=np.full(n, 0.6) + 0.01 * np.arange(n) if validation is None else np.asarray(validation),
        predicted=np.asarray(predicted),
        sweep_accuracy=sweep,
    )


def draw_predictions(rng, grades, chance):
    """Predictions that are correct with probability ``chance``, shape (draws, images), and else off by one grade."""
    wrong = np.where(grades < 4, grades + 1, grades - 1)
    return np.where(rng.random(chance.shape) < chance, grades, wrong)


def table(rng, rows, columns, row_sd, level=0.5):
    easiness = rng.normal(level, 1.5, columns)
    chance = 1 / (1 + np.exp(-easiness - rng.normal(0, row_sd, (rows, 1))))
    return (rng.random((rows, columns)) < chance).astype(float)


def test_a_table_without_interaction_has_the_variances_of_its_margins():
    rows, columns = np.array([0.0, 1.0, 4.0]), np.array([2.0, 3.0, 7.0, 8.0])
    spread = crossed_mean(rows[:, None] + columns)
    assert spread.value == pytest.approx(rows.mean() + columns.mean())
    assert spread.variance == pytest.approx(rows.var(ddof=1) / 3 + columns.var(ddof=1) / 4)


def test_equal_trainings_have_the_variance_of_the_images():
    row = np.array([1.0, 0, 1, 1, 0])
    spread = crossed_mean(np.tile(row, (4, 1)))
    assert (spread.variance, spread.freedom) == (pytest.approx(row.var(ddof=1) / 5), pytest.approx(4))


def test_one_training_has_no_interval():
    assert crossed_mean(np.array([[1.0, 0, 1]])).estimate(3)[:3] == (pytest.approx(2 / 3), None, None)


@pytest.mark.parametrize(("rows", "row_sd"), [(2, 0.4), (5, 0.0), (5, 0.4)])
def test_interval_keeps_its_level(rows, row_sd):
    rng = np.random.default_rng(0)
    truth = np.mean([table(np.random.default_rng(seed), 40, 4000, row_sd).mean() for seed in range(40)])
    estimates = [crossed_mean(table(rng, rows, 53, row_sd)).estimate(53) for _ in range(400)]
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])
    assert 0.92 <= covered <= 0.99


def test_ratio_has_fiellers_interval():
    exact = ratio(MeanWithVariance(0.1, 0.0004, 1e9), MeanWithVariance(0.2, 0.0, 1), 50)
    assert exact[:3] == pytest.approx((0.5, 0.5 - 1.96 * 0.02 / 0.2, 0.5 + 1.96 * 0.02 / 0.2), abs=1e-3)
    assert ratio(MeanWithVariance(0.1, 0.0004, 1e9), MeanWithVariance(0.2, 0.011, 1e9), 50) is None
    rng, hits = np.random.default_rng(0), 0
    for _ in range(500):
        result = ratio(
            MeanWithVariance(rng.normal(0.1, 0.03), 0.03**2, 1e9),
            MeanWithVariance(rng.normal(0.2, 0.03), 0.03**2, 1e9),
            50,
        )
        hits += result is None or result.low <= 0.5 <= result.high
    assert 0.92 <= hits / 500 <= 0.98


def test_kappa_and_its_interval_are_the_jackknife():
    rng = np.random.default_rng(0)
    predicted = draw_predictions(rng, GRADES, np.full((3, 60), 0.6))
    result = score_retrained([retrained("baseline", predicted)], GRADES, N_VALIDATION).scores[0].qwk
    whole = [qwk(confusion(GRADES, row, 5)) for row in predicted]
    without = [[qwk(confusion(np.delete(GRADES, i), np.delete(row, i), 5)) for i in range(60)] for row in predicted]
    expected = crossed_mean(60 * np.array(whole)[:, None] - 59 * np.array(without)).estimate(60)
    assert result.value == pytest.approx(np.mean(whole))
    assert result.high - result.low == pytest.approx(expected.high - expected.low)


def test_differences_are_paired_on_common_draws():
    rng = np.random.default_rng(0)
    first, second = (draw_predictions(rng, GRADES, np.full((4, 60), 0.6)) for _ in range(2))
    result = score_retrained(
        [retrained("baseline", first), retrained("trial 1", second[1:], 1, 0.7, draws=(1, 2, 3), diverged=1)],
        GRADES, N_VALIDATION,
    )  # fmt: skip
    (difference,) = result.differences
    correct = [(predicted == GRADES).mean() for predicted in (second[1:], first[1:])]
    assert (difference.one, difference.other, difference.n_draws) == ("trial 1", "baseline", 3)
    assert difference.accuracy.value == pytest.approx(correct[0] - correct[1])
    assert [score.diverged for score in result.scores] == [0, 1]


def test_noise_is_rarely_a_difference():
    rng, excluded = np.random.default_rng(0), 0
    for _ in range(300):
        chance = np.clip(rng.normal(0.6, 0.2, 60), 0.05, 0.95) + np.zeros((5, 1))
        first, second = (draw_predictions(rng, GRADES, chance) == GRADES for _ in range(2))
        difference = crossed_mean(first.astype(float) - second).estimate(60)
        excluded += not difference.low <= 0 <= difference.high
    assert 0.01 <= excluded / 300 <= 0.08


def planted(sweep, baseline_validation):
    rng = np.random.default_rng(0)
    grades = np.arange(400) % 5
    weak, strong = (draw_predictions(rng, grades, np.full((5, 400), chance)) for chance in (0.4, 0.6))
    configurations = [
        retrained("baseline", weak, validation=baseline_validation),
        retrained("trial 7", strong, 7, sweep, validation=[0.61, 0.6, 0.62, 0.6, 0.61]),
    ]
    return score_retrained(configurations, grades, 400)


def test_planted_advantage_is_found_with_its_share():
    result = planted(0.8, [0.4, 0.41, 0.39, 0.4, 0.4])
    difference, survival = result.differences[0].accuracy, result.survival
    assert difference.low > 0.1
    assert difference.low < 0.2 < difference.high
    assert (survival.winner, survival.promised.value) == ("trial 7", pytest.approx(0.4))
    assert survival.share.low < 0.5 < survival.share.high < 0.8
    assert result.scores[1].fall.value == pytest.approx(0.8 - result.scores[1].accuracy.value)


def test_share_of_an_advantage_within_noise_is_withheld():
    survival = planted(0.62, [0.5, 0.66, 0.57, 0.63, 0.55]).survival
    assert isinstance(survival.share, Withheld)
    assert "noise" in survival.share.reason


def test_one_seed_has_figures_but_no_intervals():
    result = score_retrained(
        [retrained("baseline", [GRADES]), retrained("trial 1", [GRADES], 1, 0.7)], GRADES, N_VALIDATION
    )
    assert [score.accuracy[:3] for score in result.scores] == [(1.0, None, None)] * 2
    assert isinstance(result.survival, Withheld)


def test_advantage_without_a_baseline_is_withheld():
    result = score_retrained([retrained("trial 1", [GRADES, GRADES], 1, 0.7)], GRADES, N_VALIDATION)
    assert isinstance(result.survival, Withheld)
    assert result.differences == ()
