"""The predictive pruner: chances by hand, and which trials of a toy study it stops."""

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


def under_way(score: float, depth: int = 2) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, intermediate_values={4: score}, params={"depth": depth}, distributions=DEPTHS
    )


def twenty(depth: int = 2) -> list[FrozenTrial]:
    """Return trials that rose by 0.01 to 0.20 after step 4, and all ended at 0.6."""
    return [ended(0.6, 0.6 - 0.01 * rise, depth) for rise in range(1, 21)]


@pytest.mark.parametrize(("score", "as_far"), [(0.6, 20), (0.605, 20), (0.495, 10), (0.4, 1), (0.395, 0), (0.1, 0)])
def test_chance_is_the_share_that_rose_as_far_with_itself_among_them(score: float, as_far: int) -> None:
    assert chance(under_way(score), twenty()) == pytest.approx((1 + as_far) / 21)


def test_the_best_quarter_is_what_has_to_be_reached() -> None:
    trials = [ended(final / 10, final / 10 - 0.25) for final in range(8)]  # the best two ended at 0.6 and 0.7
    assert chance(under_way(0.36), trials) == 1
    assert chance(under_way(0.34), trials) == 1 / 9
    assert chance(under_way(0.26), trials, pruned=4) == 1  # three of twelve: 0.5 will do
    assert chance(under_way(0.26), trials, pruned=3) == 1
    assert chance(under_way(0.0), trials, pruned=999) == 1


def test_other_depths_count_less_the_more_trials_a_depth_has() -> None:
    others = [ended(0.6, 0.2, depth=5) for _ in range(20)]
    assert chance(under_way(0.3), others) == 1  # nothing else is known
    assert chance(under_way(0.3), [*others, *twenty()[:8]]) == pytest.approx((1 + 20 / 2) / (1 + 8 + 20 / 2))
    assert chance(under_way(0.3, depth=5), others) == 1


def test_one_of_the_control_arm_stands_for_those_that_were_stopped() -> None:
    late = ended(0.6, 0.3, would_prune=4)
    assert chance(under_way(0.31), [*twenty(), late]) == pytest.approx((1 + 10) / (1 + 20 + 10))


def test_trials_that_were_over_before_this_step_say_only_what_the_best_is() -> None:
    over = create_trial(value=0.9, intermediate_values={3: 0.9}, params={"depth": 2}, distributions=DEPTHS)
    assert chance(under_way(0.45), [*twenty()[:3], over]) == 1 / 4


def toy_study(storage: optuna.storages.BaseStorage) -> optuna.Study:
    pruner = make_pruner("predictive", first_step=FIRST, last_step=LAST)
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(
        direction="maximize", pruner=pruner, sampler=sampler, storage=storage, study_name="toy", load_if_exists=True
    )


def run(study: optuna.Study, talents: Sequence[float]) -> None:
    """Train trials that rise by 0.01 a step."""
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


def test_a_study_that_goes_on_is_pruned_as_it_would_have_been() -> None:
    talents = [0.1 + 0.01 * (7 * n % 40) for n in range(40)]
    whole, storage = toy_study(optuna.storages.InMemoryStorage()), optuna.storages.InMemoryStorage()
    run(whole, talents)
    run(toy_study(storage), talents[:25])
    run(again := toy_study(storage), talents[25:])
    states = [trial.state for trial in whole.trials]
    assert states == [trial.state for trial in again.trials]
    assert TrialState.PRUNED not in states[:20]
    stopped = [trial for trial in whole.trials if trial.state == TrialState.PRUNED]
    assert stopped
    assert all(trial.last_step >= FIRST for trial in stopped)
    best = sorted(talents)[-10:]
    assert all(round(trial.intermediate_values[1] - 0.01, 2) < best[0] for trial in stopped)  # no winner was lost


def test_nothing_is_stopped_before_twenty_trials_have_ended() -> None:
    assert chance(under_way(0.0), twenty()[:19]) >= RISK > chance(under_way(0.0), twenty())
