"""The predictive pruner: chances computed by hand, and the trials of a toy study that it stops."""

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.pruners.factory import make_pruner
from study.pruners.predictive import RISK, chance

FIRST, LAST = 4, 10
DEPTHS: dict[str, BaseDistribution] = {"depth": IntDistribution(0, 8)}


def ended(final: float, at_four: float, depth: int = 2, **attributes: Any) -> FrozenTrial:
    values = {4: at_four, 10: final}
    return create_trial(
        value=final, intermediate_values=values, params={"depth": depth}, distributions=DEPTHS, user_attrs=attributes
    )


def running(score: float, depth: int = 2) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, intermediate_values={4: score}, params={"depth": depth}, distributions=DEPTHS
    )


def twenty(depth: int = 2) -> list[FrozenTrial]:
    """Return trials that rose by 0.01 to 0.20 after epoch 4, to 0.6."""
    return [ended(0.6, 0.6 - 0.01 * rise, depth) for rise in range(1, 21)]


@pytest.mark.parametrize(("score", "as_much"), [(0.6, 20), (0.605, 20), (0.495, 10), (0.4, 1), (0.395, 0), (0.1, 0)])
def test_chance_is_the_share_of_trials_that_rose_as_much_the_trial_itself_included(score: float, as_much: int) -> None:
    assert chance(running(score), twenty()) == pytest.approx((1 + as_much) / 21)


def test_a_trial_has_to_reach_the_best_quarter() -> None:
    trials = [ended(final / 10, final / 10 - 0.25) for final in range(8)]  # the best two ended at 0.6 and 0.7
    assert chance(running(0.36), trials) == 1
    assert chance(running(0.34), trials) == 1 / 9
    assert chance(running(0.26), trials, pruned=4) == 1  # the best three of twelve end at 0.5 or above
    assert chance(running(0.26), trials, pruned=3) == 1
    assert chance(running(0.0), trials, pruned=999) == 1


def test_other_depths_count_less_the_more_trials_a_depth_has() -> None:
    others = [ended(0.6, 0.2, depth=5) for _ in range(20)]
    assert chance(running(0.3), others) == 1  # there are no trials of its own depth
    assert chance(running(0.3), [*others, *twenty()[:8]]) == pytest.approx((1 + 20 / 2) / (1 + 8 + 20 / 2))
    assert chance(running(0.3, depth=5), others) == 1


def test_a_trial_of_the_control_arm_stands_for_the_pruned_ones() -> None:
    late = ended(0.6, 0.3, would_prune=4)
    assert chance(running(0.31), [*twenty(), late]) == pytest.approx((1 + 10) / (1 + 20 + 10))


def test_trials_that_ended_before_this_epoch_count_for_the_best_scores_only() -> None:
    over = create_trial(value=0.9, intermediate_values={3: 0.9}, params={"depth": 2}, distributions=DEPTHS)
    assert chance(running(0.45), [*twenty()[:3], over]) == 1 / 4


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
    assert TrialState.PRUNED not in states[:20]
    pruned = [trial for trial in whole.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(trial.last_step >= FIRST for trial in pruned)
    best = sorted(talents)[-10:]
    assert all(
        round(trial.intermediate_values[1] - 0.01, 2) < best[0] for trial in pruned
    )  # none of the best was pruned


def test_no_trial_is_pruned_before_twenty_trials_have_ended() -> None:
    assert chance(running(0.0), twenty()[:19]) >= RISK > chance(running(0.0), twenty())
