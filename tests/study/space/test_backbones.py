"""Spaces that search backbones, and depth as a share of their blocks."""

import json

import optuna
import pandas as pd
import pytest

from drft.config.trial_config import TrialConfig
from drft.errors import ConfigError
from study.analysis import Estimate, Withheld, summarize
from study.analysis.backbones import backbone_table
from study.analysis.design import depth_design
from study.analysis.early import early_ranking
from study.analysis.somers_d import gap_associations
from study.report.chapters import all_figures, opening
from study.report.chapters import depth as depth_chapter
from study.report.chapters.parts import Table, Text
from study.results.study_results import read_study
from study.space import Backbones, BoundSpace, Space

COUNTS = {"mobilenetv3_small_050": 8, "test_resnet": 5, "resnet18": 5}
TWO = """
search:
  backbone.name:
    type: categorical
    choices:
      mobilenetv3_small_050: embedded
      test_resnet: {weights: ~/a.safetensors, normalization: half}
  depth_fraction: {type: float, low: 0, high: 1, step: 0.25}
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, when: {depth_fraction: {min: 0.5}, backbone.name: test_resnet}}
"""


def bound(text: str, **counts: int) -> BoundSpace:
    space = Space.parse(text, "space.yaml")
    assert space.backbones is not None
    return space.bind(TrialConfig(), {str(name): (COUNTS | counts)[str(name)] for name in space.backbones.options})


def faults(text: str, **counts: int) -> str:
    with pytest.raises(ConfigError) as raised:
        bound(text, **counts)
    return "\n".join(raised.value.faults)


def test_a_mapping_gives_each_backbone_its_settings() -> None:
    first, second = bound(TWO).base_configs
    assert (first.backbone.name, first.backbone.weights) == ("mobilenetv3_small_050", "embedded")
    assert (second.backbone.name, second.backbone.weights) == ("test_resnet", "~/a.safetensors")
    assert (first.backbone.normalization, second.backbone.normalization) == ("auto", "half")


def test_backbones_of_a_list_have_default_weights() -> None:
    space = bound("search: {backbone.name: {type: categorical, choices: [mobilenetv3_small_050, resnet18]}}")
    assert [config.backbone.weights for config in space.base_configs] == ["embedded", "hub"]


@pytest.mark.parametrize(
    ("name", "fraction", "depth"),
    [
        ("mobilenetv3_small_050", 0.0, 0),
        ("mobilenetv3_small_050", 0.25, 2),
        ("mobilenetv3_small_050", 1.0, 8),
        ("test_resnet", 0.25, 1),
        ("test_resnet", 0.5, 3),  # 2.5, halves are rounded up
        ("test_resnet", 1.0, 5),
    ],
)
def test_depth_is_the_nearest_number_of_blocks(name: str, fraction: float, depth: int) -> None:
    trial = optuna.trial.FixedTrial({"backbone.name": name, "depth_fraction": fraction, "depth_phase.lr": 1e-3})
    config = bound(TWO).suggest(trial)
    assert (config.backbone.name, config.depth) == (name, depth)
    assert ("depth_phase.lr" in trial.params) == (name == "test_resnet" and fraction >= 0.5)


def test_a_fixed_share_is_a_different_depth_in_each_backbone() -> None:
    space = bound("{fixed: {depth_fraction: 0.75}, search: {backbone.name: {type: categorical, choices: "
                  "[mobilenetv3_small_050, test_resnet]}}}")  # fmt: skip
    assert [config.depth for config in space.base_configs] == [6, 4]


def test_a_share_works_for_one_backbone_too() -> None:
    space = Space.parse("search: {depth_fraction: {type: float, low: 0, high: 1}}", "x.yaml").bind(TrialConfig(), 8)
    assert space.suggest(optuna.trial.FixedTrial({"depth_fraction": 0.4})).depth == 3


def test_the_distribution_of_optuna_has_plain_names() -> None:
    space = bound(TWO)
    assert space.distributions["backbone.name"].choices == ("mobilenetv3_small_050", "test_resnet")
    assert space.size is None
    assert isinstance(space.backbones, Backbones)


CHOICES = "search: {backbone.name: {type: categorical, choices: %s}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHOICES % "{resnet18: {weigths: hub}}", "resnet18: unknown key 'weigths' (did you mean 'weights'?)"),
        (CHOICES % "{resnet18: {normalization: none}}", "resnet18: normalization: "),
        (CHOICES % "{resnet18: [hub]}", "should be one value, not a list"),
        (CHOICES % "[resnet18, resnet18]", "'resnet18' is among the choices twice"),
        (CHOICES % "[3]", "a choice should be the name of a timm model, got 3"),
        (CHOICES % "[]", "should be a list with at least one value"),
        ("search: {backbone.weights: {type: categorical, choices: [hub]}}", "name the weights of each backbone"),
        ("search: {depth_fraction: {type: float, low: 0, high: 1.5}}", "should be a number from 0 to 1"),
        ("{fixed: {depth: 2}, search: {depth_fraction: {type: float, low: 0, high: 1}}}", "set the same thing"),
        ("{fixed: {depth: all}, " + CHOICES % "[resnet18]" + "}", "all is another number for each backbone"),
    ],
)
def test_faults_of_backbones_are_reported(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Space.parse(text, "space.yaml")
    assert expected in "\n".join(raised.value.faults)


def test_a_depth_beyond_the_blocks_of_one_of_them_names_it() -> None:
    text = "{fixed: {depth: 6}, " + CHOICES % "[mobilenetv3_small_050, test_resnet]" + "}"
    assert "depth: 6 is beyond the 5 blocks of test_resnet; use at most 5, or depth_fraction" in faults(text)
    assert "mobilenetv3_small_050" not in faults(text)
    assert "depth: 2 is beyond the 1 blocks" in faults(CHOICES % "[test_resnet]", test_resnet=1)  # the default depth


# Reports on several backbones.


def complete_trials() -> pd.DataFrame:
    rows = [
        (number, name, number % 3, 0.5 + 0.01 * number, 0.1, 2.0 + number) for number, name in enumerate(["a", "b"] * 6)
    ]
    names = ["number", "backbone.name", "depth", "score", "gap_last", "seconds"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(val_accuracy_best=table["score"], control=False, state="COMPLETE", feasible=True)


def test_backbones_side_by_side() -> None:
    first, second = backbone_table(complete_trials(), {"a": 8, "b": 5, "c": 3}, 100)  # c has no trial
    assert (first.backbone, first.blocks, first.n, first.best_trial, first.best_depth) == ("a", 8, 6, 10, 1)
    assert (second.best.value, second.seconds.value) == (pytest.approx(0.61), pytest.approx(8.0))
    assert isinstance(second.accuracy, Estimate)
    assert backbone_table(complete_trials(), {}, 100) == Withheld("the study has one backbone")


def test_depths_of_several_backbones_are_not_mixed_in_early_results() -> None:
    trials = complete_trials()
    steps = [(n, step, score - 0.1 / step) for n, score in zip(trials["number"], trials["score"], strict=True)
             for step in (1, 2)]  # fmt: skip
    epochs = pd.DataFrame(steps, columns=["trial", "step", "val_accuracy"])
    base = {"head_phase": {"epochs": 1}, "depth_phase": {"epochs": 1}}
    result = early_ranking(trials.assign(depth=1), trials.assign(depth=1), epochs, base, "accuracy")
    assert (result.everyone.n, result.depths) == (12, ())


def test_only_trials_of_the_same_backbone_are_compared() -> None:
    # Within each backbone the gap falls as the rate rises; over both it would rise.
    rows = [(rate + 20 * shift, 0.1 * shift - 0.001 * rate, name, 0) for shift, name in ((0, "a"), (1, "b"))
            for rate in range(12)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["lr", "gap_last", "backbone.name", "depth"])
    spread = {"lr": optuna.distributions.FloatDistribution(0, 50)}
    names = {"backbone.name": optuna.distributions.CategoricalDistribution(("a", "b"))}
    mixed, apart = (gap_associations(table, {**spread, **more}, adaptive=False)[0].tau.value for more in ({}, names))
    assert mixed > 0
    assert apart == -1


def test_only_shares_of_one_backbone_are_isolated() -> None:
    one = "{isolate: depth_fraction, search: {depth_fraction: {type: float, low: 0, high: 1, step: 0.5}}}"
    assert not isinstance(depth_design(one, ["tpe"], 0), Withheld)
    assert isinstance(depth_design(TWO + "isolate: depth_fraction\n", ["tpe"], 0), Withheld)


def test_a_report_shows_depths_of_the_best_backbone_and_states_that(make_study, tmp_path) -> None:
    counts = {"a": 5, "b": 12}
    make_study(tmp_path, "both", [optuna.trial.TrialState.COMPLETE] * 24, backbones=json.dumps(counts))
    results = read_study("both", tmp_path)
    results.trials["backbone.name"] = ["a", "b"] * 12  # before anything is computed from the table
    statistics = summarize(results)
    best = results.complete.iloc[0]["backbone.name"]
    assert sum(row.n for row in statistics.depths) == 12
    assert {row.backbone: row.n for row in statistics.backbones} == {"a": 12, "b": 12}
    table, *_ = depth_chapter.chapter(results, statistics).parts
    assert isinstance(table, Table)
    assert [row[:3] for row in table.rows] == [("a", "5", "12"), ("b", "12", "12")]
    first = opening.chapter(results, statistics)
    assert any(f"{best} alone" in part.text for part in first.parts if isinstance(part, Text))
    figure = next(figure for figure in all_figures([first]) if figure.id == "depth")
    points = sum(len(trace.x) for trace in figure.drawings["wide"].data if trace.mode == "markers")
    assert points <= 12 + len(statistics.depths)
    assert (results.info.block_count("b"), results.info.block_count()) == (12, 5)
