"""Valid search spaces: how they are parsed and bound, and the configurations that they suggest."""

from functools import reduce
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from drft.config.trial_config import TrialConfig, with_values
from study.space import BoundSpace, Choices, Range, Space, shipped_spaces
from study.space.dimension import Condition

SPACE = """
name: example
question: Does it work?
fixed:
  head_phase.epochs: 2
  depth_phase: {epochs: 5}
search:
  depth: {type: int, low: 0, high: all}
  depth_phase.lr: {type: float, low: 1e-5, high: 1.0e-2, log: true}   # 1e-5 has no dot
  augmentation.strength: {type: categorical, choices: [0, 0.25, 0.5]}
  optimizer.name: {type: categorical, choices: [adamw, sgd]}
  optimizer.momentum: {type: float, low: 0.8, high: 0.99, when: {optimizer.name: sgd}}
  depth_phase.layer_decay: {type: float, low: 0.5, high: 1, step: 0.1, when: {depth: {min: 2, max: all}}}
"""


def setting(config: TrialConfig, path: str) -> Any:
    return reduce(getattr, path.split("."), config)


def bound(text: str, blocks: int = 8) -> BoundSpace:
    return Space.parse(text, "space.yaml").bind(TrialConfig(), blocks)


def suggest_at_random(space: BoundSpace, trials: int, seed: int = 0) -> list[tuple[dict[str, Any], TrialConfig]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    asked = [study.ask() for _ in range(trials)]
    configs = [space.suggest(trial) for trial in asked]
    return [(trial.params, config) for trial, config in zip(asked, configs, strict=True)]


def test_a_space_holds_fixed_and_searched_settings() -> None:
    space = Space.parse(SPACE, "space.yaml")
    assert (space.name, space.question) == ("example", "Does it work?")
    assert {fixed.path: fixed.value for fixed in space.fixed} == {"head_phase.epochs": 2, "depth_phase.epochs": 5}
    domains = {dimension.path: dimension.domain for dimension in space.dimensions}
    assert domains["depth_phase.lr"] == Range(1e-5, 1e-2, log=True)
    assert domains["augmentation.strength"] == Choices((0.0, 0.25, 0.5))


def test_binding_replaces_all_by_the_blocks_and_sets_fixed_values_in_the_base() -> None:
    base = with_values(TrialConfig(), {"dropout": 0.3, "head_phase.epochs": 9})
    space = Space.parse(SPACE, "space.yaml").bind(base, 6)
    assert space.dimensions[0].domain == Range(0, 6, whole=True)
    assert (space.base.dropout, space.base.head_phase.epochs, space.base.depth_phase.epochs) == (0.3, 2, 5)


def test_suggestions_have_the_trials_values_and_those_of_the_base_elsewhere() -> None:
    space = bound(SPACE)
    for params, config in suggest_at_random(space, 40):
        assert all(setting(config, path) == value for path, value in params.items())
        assert with_values(space.base, params) == config


def test_inactive_dimensions_are_not_drawn() -> None:
    drawn = [params for params, _ in suggest_at_random(bound(SPACE), 60)]
    assert {"optimizer.momentum" in params for params in drawn} == {True, False}
    for params in drawn:
        assert ("optimizer.momentum" in params) == (params["optimizer.name"] == "sgd")
        assert ("depth_phase.layer_decay" in params) == (params["depth"] >= 2)


def test_a_condition_on_an_inactive_dimension_does_not_hold() -> None:
    space = bound(
        """
search:
  depth: {type: categorical, choices: [0, 1]}
  batch_norm: {type: categorical, choices: [adapt], when: {depth: 1}}
  dropout: {type: categorical, choices: [0.1], when: {batch_norm: [frozen, adapt]}}
""".replace("[adapt]", "[adapt, frozen]")
    )
    for params, _ in suggest_at_random(space, 20):
        assert ("dropout" in params) == (params["depth"] == 1)


STEPPED = """
search:
  dropout: {type: float, low: 0, high: 0.5, step: 0.1}
  optimizer.weight_decay: {type: float, low: 0, high: 1, when: {dropout: CONDITION}}
"""


@pytest.mark.parametrize(
    ("condition", "holds"),
    [("0.3", {3}), ("[0.1, 0.3]", {1, 3}), ("{max: 0.3}", {0, 1, 2, 3}), ("{min: 0.3, max: 0.4}", {3, 4})],
)
def test_conditions_hold_for_the_values_of_a_range_with_steps(condition: str, holds: set[int]) -> None:
    drawn = [params for params, _ in suggest_at_random(bound(STEPPED.replace("CONDITION", condition)), 60)]
    assert 0.30000000000000004 in {params["dropout"] for params in drawn}  # as Optuna adds steps of 0.1
    assert {round(10 * params["dropout"]) for params in drawn if "optimizer.weight_decay" in params} == holds
    assert {round(10 * params["dropout"]) for params in drawn} == set(range(6))


@pytest.mark.parametrize(
    ("value", "wanted", "holds"),
    [
        (0.30000000000000004, 0.3, True),
        (0.3000001, 0.3, False),
        (0.0, 1e-12, False),
        (2_000_000_001, 2_000_000_000, False),
    ],
)
def test_a_condition_holds_up_to_rounding_errors_of_floats(value: float, wanted: float, holds: bool) -> None:
    assert Condition("x", among=(wanted,)).accepts(value) == holds
    assert Condition("x", maximum=wanted).accepts(value) == (holds or value < wanted)
    assert Condition("x", minimum=value).accepts(wanted) == (holds or wanted > value)


@pytest.mark.parametrize("written", ["1e-5", "1E-5", "1.e-5", "1.0e-05", ".1e-4", "0.00001"])
def test_numbers_with_an_exponent_are_numbers(written: str) -> None:
    space = Space.parse(f"search: {{depth_phase.lr: {{type: float, low: {written}, high: 1e+0}}}}", "space.yaml")
    assert space.dimensions[0].domain == Range(1e-5, 1.0)


def test_epochs_of_the_phases() -> None:
    space = bound(SPACE)
    assert (space.first_prunable_step, space.max_steps, space.min_steps) == (3, 7, 7)


def test_epochs_of_the_phases_if_they_are_searched() -> None:
    space = bound("""
fixed: {depth_phase.epochs: 4}
search:
  depth: {type: int, low: 0, high: all}
  head_phase.epochs: {type: int, low: 1, high: 5, when: {depth: {min: 1}}}
""")
    assert space.base.head_phase.epochs == 3
    assert (space.first_prunable_step, space.max_steps, space.min_steps) == (2, 9, 5)


def test_a_grid_counts_conditions_once() -> None:
    space = bound("""
search:
  depth: {type: int, low: 0, high: 2}
  augmentation.strength: {type: float, low: 0, high: 1, step: 0.25}
  batch_norm: {type: categorical, choices: [frozen, adapt], when: {depth: {min: 1}}}
""")
    assert space.grid()["augmentation.strength"] == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert space.size == 5 + 2 * 5 * 2


@pytest.mark.parametrize(
    ("dimension", "sizes"),
    [
        ("", (96,)),
        ("image_size: {type: categorical, choices: [64, 32]}", (32, 64)),
        ("image_size: {type: int, low: 32, high: 64, step: 16}", (32, 48, 64)),
        ("image_size: {type: categorical, choices: [64], when: {depth: 0}}", (64, 96)),  # 96 at other depths
    ],
)
def test_all_image_sizes_that_trainings_may_have_are_known(dimension: str, sizes: tuple[int, ...]) -> None:
    text = f"search:\n  depth: {{type: int, low: 0, high: all}}\n  {dimension}\n"
    assert bound(text).image_sizes == sizes


def test_endless_dimensions_have_no_size() -> None:
    assert bound(SPACE).size is None


def test_the_fingerprint_depends_on_the_settings_not_on_how_they_are_written() -> None:
    space = Space.parse(SPACE, "a.yaml")
    other_words = SPACE.replace("Does it work?", "Really?").replace("1.0e-2", "0.01").replace("# 1e-5", "# so")
    assert Space.parse(other_words, "b.yaml").fingerprint == space.fingerprint
    assert Space.parse(SPACE.replace("1.0e-2", "0.02"), "a.yaml").fingerprint != space.fingerprint
    assert Space.parse(SPACE + "isolate: depth\n", "a.yaml").fingerprint != space.fingerprint


def test_all_can_be_fixed_chosen_and_used_in_conditions() -> None:
    assert bound("fixed: {depth: all}\nsearch: {dropout: {type: float, low: 0, high: 0.5}}", 7).base.depth == 7
    chosen = """
search:
  depth: {type: categorical, choices: [0, 3, all]}
  dropout: {type: float, low: 0, high: 0.5, when: {depth: all}}
"""
    for params, config in suggest_at_random(bound(chosen, 9), 20):
        assert config.depth in {0, 3, 9}
        assert ("dropout" in params) == (config.depth == 9)
    assert bound(chosen, 3).dimensions[0].domain == Choices((0, 3))


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
@pytest.mark.parametrize("blocks", [4, 8, 13])
def test_shipped_spaces_bind_and_suggest(name: str, blocks: int) -> None:
    space = Space.load(name)
    assert space.name == name
    assert space.question
    header = space.text.splitlines()[0]
    assert header.startswith("# ")
    assert "drft-study run" in space.text
    configs = [config for _, config in suggest_at_random(space.bind(TrialConfig(), blocks), 25)]
    assert {config.depth for config in configs} <= set(range(blocks + 1))
    assert len({config.depth for config in configs}) > 1


# Random spaces of these dimensions, in any order and with any valid numbers.

_FLOATS = {"dropout": (0.0, 0.99), "loss.label_smoothing": (0.0, 0.99), "optimizer.weight_decay": (1e-6, 10.0)}
_INTS = {"depth": (0, 8), "batch_size": (1, 256), "image_size": (16, 512), "head_phase.epochs": (1, 9)}
_CHOICES: dict[str, list[Any]] = {
    "batch_norm": ["frozen", "adapt"],
    "loss.class_weighting": ["none", "sqrt", "balanced"],
    "augmentation.strength": [0, 0.25, 0.5, 0.75, 1],
}


@st.composite
def entries(draw: st.DrawFn, path: str) -> dict[str, Any]:
    if path in _CHOICES:
        options = draw(st.lists(st.sampled_from(_CHOICES[path]), min_size=1, unique=True))
        return {"type": "categorical", "choices": options}
    if path in _INTS:
        low, high = sorted(draw(st.tuples(*[st.integers(*_INTS[path])] * 2)))
        return {"type": "int", "low": low, "high": high, "log": draw(st.booleans()) and low > 0}
    low, high = sorted(draw(st.tuples(*[st.floats(*_FLOATS[path])] * 2)))
    return {"type": "float", "low": low, "high": high, "log": draw(st.booleans()) and low > 0}


def _values(entry: dict[str, Any]) -> list[Any]:
    return entry["choices"] if entry["type"] == "categorical" else [entry["low"], entry["high"]]


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    paths = draw(st.lists(st.sampled_from([*_FLOATS, *_INTS, *_CHOICES]), min_size=1, unique=True))
    search: dict[str, Any] = {}
    for path in paths:
        entry = draw(entries(path))
        if search and draw(st.booleans()):
            other = draw(st.sampled_from(list(search)))
            entry["when"] = {other: draw(st.sampled_from(_values(search[other])))}
        search[path] = entry
    return {"search": search}


@settings(deadline=None)
@given(spaces(), st.integers(0, 1000))
def test_every_suggestion_of_every_space_is_valid(content: dict[str, Any], seed: int) -> None:
    search = content["search"]
    for params, config in suggest_at_random(bound(yaml.safe_dump(content, sort_keys=False)), 3, seed):
        for path, entry in search.items():
            when = entry.get("when", {})
            assert (path in params) == all(params.get(other) == wanted for other, wanted in when.items())
            if path not in params:
                assert setting(config, path) == setting(TrialConfig(), path)
            elif entry["type"] == "categorical":
                assert params[path] in entry["choices"]
            else:
                assert entry["low"] <= params[path] <= entry["high"]
