"""The predictive pruner: its predictions, its chances, and the trials of a toy study that it stops."""

from collections.abc import Sequence

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy import stats

from study.pruners.factory import make_pruner
from study.pruners.predictive import LEAST, RISK, TOP, chance, predict_final

FIRST, LAST = 4, 10
DEPTHS: dict[str, BaseDistribution] = {"depth": IntDistribution(0, 8)}


def ended(final: float, at_four: float) -> FrozenTrial:
    values = {4: at_four, 10: final}
    return create_trial(value=final, intermediate_values=values, params={"depth": 2}, distributions=DEPTHS)


def running(score: float) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, intermediate_values={4: score}, params={"depth": 2}, distributions=DEPTHS
    )


def completed(count: int, noise: float = 0.02, seed: int = 0) -> list[FrozenTrial]:
    """Return trials whose score at the end lies around 0.3 plus half of that after epoch 4."""
    rng = np.random.default_rng(seed)
    early = rng.uniform(0.2, 0.6, count)
    return [ended(float(0.3 + 0.5 * score + rng.normal(0, noise)), float(score)) for score in early]


def test_the_prediction_is_that_of_a_line_and_its_spread_that_of_a_new_trial() -> None:
    rng = np.random.default_rng(0)
    early = rng.uniform(0.2, 0.6, 200)
    final = 0.3 + 0.5 * early + rng.normal(0, 0.02, 200)
    line, predicted = stats.linregress(early, final), predict_final(early, final, 0.35)
    assert predicted.score == pytest.approx(line.intercept + line.slope * 0.35, abs=1e-3)
    assert predicted.spread == pytest.approx(0.02, rel=0.1)
    assert predicted.freedom == 198


def test_predicted_spreads_hold_what_they_promise_with_few_trials() -> None:
    rng, below = np.random.default_rng(1), []
    for _ in range(2000):
        early = rng.uniform(0.2, 0.6, LEAST + 1)
        final = 0.3 + 0.5 * early + rng.normal(0, 0.02, LEAST + 1)
        predicted = predict_final(early[1:], final[1:], early[0])
        below.append(final[0] < predicted.score + predicted.spread * stats.t.ppf(0.1, predicted.freedom))
    assert np.mean(below) == pytest.approx(0.1, abs=0.03)


def test_pruning_weak_trials_does_not_bend_the_line() -> None:
    rng = np.random.default_rng(2)
    early = rng.uniform(0.2, 0.6, 4000)
    final = 0.3 + 0.5 * early + rng.normal(0, 0.02, 4000)
    kept = early > 0.4
    assert predict_final(early[kept], final[kept], 0.3).score == pytest.approx(0.45, abs=0.01)


def test_trainings_that_all_had_the_same_score_predict_their_mean() -> None:
    assert predict_final([0.4] * 4, [0.5, 0.6, 0.5, 0.6], 0.2).score == pytest.approx(0.55)
    assert predict_final([0.4] * 4, [0.5, 0.6, 0.5, 0.6], 0.7).score == 0.7  # it has reached this already


def test_a_trial_has_to_reach_the_best_of_all_trials_that_have_ended() -> None:
    trials = [ended(0.5 + 0.01 * index, 0.3 + 0.01 * index) for index in range(20)]  # each rises by 0.2
    assert round(TOP * 20) == 5  # the best five end at 0.65 or above
    assert chance(running(0.46), trials) > 0.9
    assert chance(running(0.42), trials) < 0.1
    assert chance(running(0.42), trials, pruned=20) > 0.9  # now the best ten count, from 0.6


@given(st.integers(LEAST, 40), st.lists(st.floats(0, 1), min_size=2, max_size=5), st.integers(0, 20))
def test_the_chance_is_a_probability_and_rises_with_the_score(count: int, scores: list[float], pruned: int) -> None:
    trials = completed(count)
    chances = [chance(running(score), trials, pruned) for score in sorted(scores)]
    assert all(0 <= value <= 1 for value in chances)
    inside = [chance(running(score), trials, pruned) for score in (0.25, 0.35, 0.45, 0.55)]
    assert inside == sorted(inside)


def test_trials_that_ended_before_this_epoch_count_for_the_best_scores_only() -> None:
    over = create_trial(value=0.9, intermediate_values={3: 0.9}, params={"depth": 2}, distributions=DEPTHS)
    trials = completed(LEAST)
    assert chance(running(0.5), [*trials[1:], over]) == 1  # too few to predict from
    assert chance(running(0.5), [*trials, *[over] * 10]) < 0.01 < chance(running(0.5), trials)


def toy_study(storage: optuna.storages.BaseStorage) -> optuna.Study:
    pruner = make_pruner("predictive", first_step=FIRST, last_step=LAST)
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(
        direction="maximize", pruner=pruner, sampler=sampler, storage=storage, study_name="toy", load_if_exists=True
    )


def run(study: optuna.Study, talents: Sequence[float]) -> None:
    """Run trials whose score rises by 0.01 per epoch."""
    for talent in talents:
        trial = study.ask()
        trial.suggest_int("depth", 1, 1)
        for step in range(1, LAST + 1):
            trial.report(talent + 0.01 * step, step)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, talent + 0.01 * LAST)


def test_a_resumed_study_is_pruned_like_an_uninterrupted_one() -> None:
    talents = [0.1 + 0.01 * (7 * n % 40) for n in range(40)]
    whole, storage = toy_study(optuna.storages.InMemoryStorage()), optuna.storages.InMemoryStorage()
    run(whole, talents)
    run(toy_study(storage), talents[:25])
    run(again := toy_study(storage), talents[25:])
    states = [trial.state for trial in whole.trials]
    assert states == [trial.state for trial in again.trials]
    assert TrialState.PRUNED not in states[:LEAST]
    pruned = [trial for trial in whole.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(trial.last_step >= FIRST for trial in pruned)
    best = sorted(talents)[-10:]
    assert all(
        round(trial.intermediate_values[1] - 0.01, 2) < best[0] for trial in pruned
    )  # none of the best was pruned


def test_no_trial_is_pruned_before_some_have_completed() -> None:
    assert chance(running(0.0), completed(LEAST - 1)) == 1
    assert chance(running(0.0), completed(LEAST)) < RISK
