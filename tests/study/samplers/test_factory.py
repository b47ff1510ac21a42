"""Samplers and pruners by name, on a toy training of ten epochs."""

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import TrialConfig
from drft.errors import ConfigError
from study.pruners.factory import AfterHeadPhase, make_pruner
from study.pruners.names import PRUNERS
from study.pruners.predictive import LEAST
from study.samplers import balanced, factory
from study.samplers.balanced import remove_difficulty
from study.samplers.factory import make_sampler, sampler_notes
from study.samplers.names import SAMPLERS, Goal
from study.space import BoundSpace, Space
from study.storage.optuna_internals import ViewStorage, check_study_view

HEAD_EPOCHS, EPOCHS = 3, 10
EPOCH_PRUNERS = [name for name in PRUNERS if name != "wilcoxon"]  # test_folds.py tests that one, which compares folds

MIXED = """
search:
  depth: {type: int, low: 0, high: 4}
  depth_phase.lr: {type: float, low: 1e-5, high: 1e-2, log: true}
  batch_norm: {type: categorical, choices: [frozen, adapt]}
  depth_phase.layer_decay: {type: float, low: 0.5, high: 1, when: {depth: {min: 2}}}
"""

FINITE = """
search:
  depth: {type: int, low: 0, high: 2}
  augmentation.strength: {type: float, low: 0, high: 1, step: 0.5}
  batch_norm: {type: categorical, choices: [frozen, adapt], when: {depth: {min: 1}}}
"""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def bound(text: str) -> BoundSpace:
    return Space.parse(text, "space.yaml").bind(TrialConfig(), 8)


def new_study(
    space: BoundSpace, sampler: str, pruner: str = "none", seed: int = 0, goal: Goal = "best"
) -> optuna.Study:
    first, last = space.first_prunable_step, space.max_steps
    return optuna.create_study(
        study_name="toy",
        direction="maximize",
        sampler=make_sampler(sampler, seed=seed, space=space, finished_trials=0, goal=goal),
        pruner=make_pruner(pruner, first_step=first, last_step=last),
    )


def train(study: optuna.Study, trial: optuna.Trial, config: TrialConfig) -> None:
    """Report a score that rises with the epoch and the depth."""
    for step in range(1, config.head_phase.epochs + config.depth_phase.epochs + 1):
        trial.report(0.1 * config.depth + 0.01 * step, step)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, 0.1 * config.depth + 0.1)


def run(space: BoundSpace, study: optuna.Study, trials: int) -> list[dict[str, Any]]:
    for _ in range(trials):
        trial = study.ask()
        train(study, trial, space.suggest(trial))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("pruner", EPOCH_PRUNERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_works_with_every_pruner(sampler: str, pruner: str) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    space = bound(FINITE if sampler == "grid" else MIXED)
    study = new_study(space, sampler, pruner)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(space, study, 14)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert len(study.trials) == 14
    assert all(trial.last_step is not None and trial.last_step > HEAD_EPOCHS for trial in pruned)
    if pruner == "predictive":  # needs ten completed trials, and may find no weak one among the last four
        assert all(trial.number >= LEAST for trial in pruned)
    else:
        assert bool(pruned) == (pruner != "none")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_seeds_draw_equally_and_others_do_not(sampler: str) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    space = bound(FINITE if sampler == "grid" else MIXED)
    first, again, other = (run(space, new_study(space, sampler, seed=seed), 12) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_resumed_study_does_not_draw_its_first_points_again(sampler: str) -> None:
    space = bound(MIXED)
    study = new_study(space, sampler)
    run(space, study, 5)
    study.sampler = make_sampler(sampler, seed=0, space=space, finished_trials=5)
    params = run(space, study, 5)
    assert params[5] != params[0]
    assert len({tuple(drawn.items()) for drawn in params}) == 10


def test_qmc_resumes_its_sequence_and_spreads_depths_evenly() -> None:
    space = bound("search: {depth: {type: int, low: 0, high: 3}, dropout: {type: float, low: 0, high: 0.5}}")
    study = new_study(space, "qmc")
    run(space, study, 8)
    study.sampler = make_sampler("qmc", seed=0, space=space, finished_trials=8)
    params = run(space, study, 8)
    assert params == run(space, new_study(space, "qmc"), 16)
    assert set(Counter(drawn["depth"] for drawn in params).values()) == {4}


def test_grid_visits_every_configuration_once() -> None:
    space = bound(FINITE)
    params = run(space, new_study(space, "grid"), space.size or 0)
    assert space.size == 15
    assert len({tuple(drawn.items()) for drawn in params}) == 15


def test_grid_refuses_endless_dimensions_by_name() -> None:
    with pytest.raises(ConfigError) as raised:
        make_sampler("grid", seed=0, space=bound(MIXED), finished_trials=0)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["depth_phase.lr", "depth_phase.layer_decay"]


def test_cmaes_refuses_a_space_without_numbers() -> None:
    pytest.importorskip("cmaes")
    space = bound("search: {batch_norm: {type: categorical, choices: [frozen, adapt]}}")
    with pytest.raises(ConfigError, match="nothing to learn"):
        make_sampler("cmaes", seed=0, space=space, finished_trials=0)


def test_cmaes_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cmaes.*'"):
        make_sampler("cmaes", seed=0, space=bound(MIXED), finished_trials=0)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="choose one of tpe, random"):
        make_sampler("bayes", seed=0, space=bound(MIXED), finished_trials=0)
    with pytest.raises(ConfigError, match="choose one of asha"):
        make_pruner("asah", first_step=4, last_step=10)


def test_notes_name_the_dimensions_that_a_sampler_draws_at_random() -> None:
    assert sampler_notes("tpe", bound(MIXED)) == ()
    assert "depth_phase.layer_decay" in sampler_notes("gp", bound(MIXED))[1]
    assert "batch_norm, depth_phase.layer_decay" in sampler_notes("cmaes", bound(MIXED))[1]
    assert "15 points" in sampler_notes("grid", bound(FINITE))[0]
    assert "every value of depth" in sampler_notes("tpe", bound(MIXED + "isolate: depth"))[0]


class AlwaysPrune(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return True


@pytest.mark.parametrize(("head_epochs", "first"), [(2, 4), (3, 4), (5, 6)])
def test_no_trial_is_pruned_before_one_epoch_after_its_own_head_phase(head_epochs: int, first: int) -> None:
    study = optuna.create_study(direction="maximize", pruner=AfterHeadPhase(AlwaysPrune(), first_step=4))
    trial = study.ask()
    trial.suggest_int("head_phase.epochs", head_epochs, head_epochs)
    pruned = []
    assert not trial.should_prune()
    for step in range(1, EPOCHS + 1):
        trial.report(0.5, step)
        pruned.append(trial.should_prune())
    assert pruned == [step >= first for step in range(1, EPOCHS + 1)]


@pytest.mark.parametrize("pruner", EPOCH_PRUNERS)
def test_no_pruner_is_used_where_it_would_save_no_epoch(pruner: str) -> None:
    assert isinstance(make_pruner(pruner, first_step=4, last_step=4), optuna.pruners.NopPruner)


# Studies with one sub-study for each depth.

ISOLATED = MIXED + "isolate: depth\n"


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "grid"])
def test_isolated_values_get_equally_many_trials(sampler: str) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    space = bound(ISOLATED)
    params = run(space, new_study(space, sampler), 60 if sampler == "tpe" else 25)
    assert set(Counter(drawn["depth"] for drawn in params).values()) == {len(params) // 5}


def test_isolated_samplers_draw_different_and_repeatable_values() -> None:
    space = bound(ISOLATED)
    params = run(space, new_study(space, "random"), 5)
    assert len({drawn["depth_phase.lr"] for drawn in params}) == 5
    assert params == run(space, new_study(space, "random"), 5)


def test_a_trial_that_is_queued_again_keeps_its_value_and_counts_once() -> None:
    space = bound(ISOLATED)
    study = new_study(space, "tpe")
    run(space, study, 4)
    lost = study.ask()
    space.suggest(lost)
    study.tell(lost, state=TrialState.FAIL)
    study.enqueue_trial(lost.params, user_attrs={"retry_of": lost.number})
    params = run(space, study, 6)
    assert params[5] == params[4]
    assert Counter(drawn["depth"] for drawn in params) == {0: 3, 1: 2, 2: 2, 3: 2, 4: 2}


def test_running_trials_count_for_their_value() -> None:
    space = bound(ISOLATED)
    study = new_study(space, "tpe")
    trials = [study.ask() for _ in range(10)]
    assert Counter(space.suggest(trial).depth for trial in trials) == dict.fromkeys(range(5), 2)


def seen_by_tpe(monkeypatch: pytest.MonkeyPatch) -> list[list[FrozenTrial]]:
    """Return the trials that TPE learns from, for every trial that it draws from now on."""
    seen: list[list[FrozenTrial]] = []
    sample = optuna.samplers.TPESampler.sample_relative
    monkeypatch.setattr(
        optuna.samplers.TPESampler,
        "sample_relative",
        lambda self, study, *rest: seen.append(study.get_trials()) or sample(self, study, *rest),
    )
    return seen


def test_the_sampler_of_a_value_learns_from_the_trials_of_that_value_only(monkeypatch: pytest.MonkeyPatch) -> None:
    space = bound(ISOLATED)
    study = new_study(space, "tpe")
    run(space, study, 10)
    seen = seen_by_tpe(monkeypatch)
    space.suggest(study.ask({"depth": study.trials[6].distributions["depth"]}))
    (trials,) = seen
    assert [trial.number for trial in trials] == [0, 5]
    assert {trial.params["depth"] for trial in trials} == {4}


def test_without_views_of_a_study_isolated_values_still_get_equally_many_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (factory, balanced):
        monkeypatch.setattr(module, "check_study_view", lambda: "Optuna has changed")
    space = bound(ISOLATED)
    params = run(space, new_study(space, "tpe"), 10)
    assert Counter(drawn["depth"] for drawn in params) == dict.fromkeys(range(5), 2)
    assert "learn from the trials of all values, since Optuna has changed" in sampler_notes("tpe", space)[1]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp"])
def test_with_the_goal_depth_all_depths_get_equally_many_trials(sampler: str) -> None:
    space = bound(MIXED)
    params = run(space, new_study(space, sampler, goal="depth"), 35)
    assert Counter(drawn["depth"] for drawn in params) == dict.fromkeys(range(5), 7)
    assert len({drawn["depth_phase.lr"] for drawn in params}) > 30
    assert sampler_notes(sampler, space, goal="depth")[-1] == "every depth gets as many trials as the others"


def test_with_the_goal_depth_a_sampler_learns_from_the_trials_of_near_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    space = bound(MIXED)
    study = new_study(space, "tpe", goal="depth")
    seen = seen_by_tpe(monkeypatch)
    run(space, study, 6)
    near = [sorted(trial.params["depth"] for trial in trials) for trials in seen]
    assert near == [[], [4], [3, 4], [2, 3], [1, 2], [2, 3, 4]]  # drawn for depths 4, 3, 2, 1, 0 and 4


def test_samplers_learn_from_scores_without_the_difficulty_of_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    space = bound(MIXED)
    study = new_study(space, "tpe", goal="depth")
    for number in range(10):  # an easy split, then a hard one
        trial = study.ask()
        space.suggest(trial)
        trial.set_user_attr("block", number // 5)
        study.tell(trial, 0.1 * (number % 5) + (0.5 if number < 5 else 0.1))
    seen = seen_by_tpe(monkeypatch)
    space.suggest(study.ask())
    values = np.array([trial.value for trial in seen[0]]).reshape(2, 3)  # drawn for depth 4: those of 4, 3 and 2
    assert np.abs(values[0] - values[1]).max() == pytest.approx(0.4 / 6)  # shrunken: the mean of five is not exact
    assert [trial.value for trial in study.trials[:2]] == pytest.approx([0.5, 0.6])  # the study keeps the real scores


@settings(max_examples=100)
@given(st.lists(st.tuples(st.none() | st.integers(0, 3), st.floats(0, 1), st.booleans()), max_size=20))
def test_removing_difficulty_keeps_the_order_within_a_split(rows: list[tuple[int | None, float, bool]]) -> None:
    trials = [
        optuna.create_trial(
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            value=None if pruned else score,
            intermediate_values={0: score / 2, 1: score},
            user_attrs={} if block is None else {"block": block},
        )
        for block, score, pruned in rows
    ]
    shown = remove_difficulty(trials)
    assert [trial.intermediate_values[1] for trial in trials] == [score for _, score, _ in rows]
    shifts: dict[int | None, set[float]] = {}
    for trial, (block, score, pruned) in zip(shown, rows, strict=True):
        assert pruned or trial.value == trial.intermediate_values[1]
        shifts.setdefault(block, set()).add(round(trial.intermediate_values[1] - score, 9))
    assert all(len(shift) == 1 for shift in shifts.values())
    assert shifts.get(None, {0.0}) == {0.0}


def test_the_installed_optuna_allows_views_of_a_study_and_a_changed_one_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check_study_view() is None
    monkeypatch.delattr(ViewStorage, "get_all_trials")  # as if samplers read trials by another method
    reason = check_study_view.__wrapped__()
    assert reason is not None
    assert "do not read trials through the storage" in reason
    monkeypatch.setattr(optuna, "load_study", lambda **_: 1 / 0)
    reason = check_study_view.__wrapped__()
    assert reason is not None
    assert "ZeroDivisionError" in reason
