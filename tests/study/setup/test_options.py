"""Options of a run, and their checks."""

import sys
from pathlib import Path
from typing import get_args

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.config.trial_config import Metric
from drft.errors import UsageError
from study.cli.options import Duration, read_settings, shown_command
from study.cli.run import command
from study.setup.options import RunOptions

DURATION = Duration()


@pytest.mark.parametrize(
    ("text", "seconds"), [("600", 600), ("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_durations_are_parsed(text, seconds):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10x", "0", "-5", "1h soon", "5 m"])
def test_invalid_durations_are_refused(text):
    with pytest.raises(click.BadParameter, match="write 600, 90s, 10m"):
        DURATION.convert(text, None, None)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_hours_minutes_and_seconds_add_up(hours, minutes, seconds):
    text = f"{hours}h{minutes}m{seconds}s"
    assert DURATION.convert(text, None, None) == hours * 3600 + minutes * 60 + seconds


def test_numbers_out_of_range_are_reported_together():
    with pytest.raises(UsageError) as caught:
        RunOptions(trials=0, jobs=0, keep_checkpoints=-1, seed=2**64)
    assert len(caught.value.faults) == 4
    assert caught.value.faults[-1] == f"seed should be at most {2**64 - 1}, not {2**64}"
    assert RunOptions(seed=2**64 - 1).seed == 2**64 - 1


def test_only_given_options_go_into_the_configuration():
    assert RunOptions().config_values == {}
    values = RunOptions(backbone="resnet18", image_size=64, metric="qwk").config_values
    assert values == {"backbone.name": "resnet18", "image_size": 64, "metric": "qwk"}


def test_the_command_line_offers_every_metric():
    (option,) = (parameter for parameter in command.params if parameter.name == "metric")
    assert tuple(option.type.choices) == get_args(Metric)


def test_the_recorded_command_has_no_password(monkeypatch):
    url = "postgresql://drft:secret@db/studies"
    monkeypatch.setattr(sys, "argv", ["drft-study", "run", "--storage", url, f"--study={url}"])
    shown = shown_command(url)
    assert "secret" not in shown
    assert "drft:***@db/studies" in shown


def test_paths_and_texts_are_the_same():
    options = RunOptions(results="some", data=Path("labels.csv"), space=Path("mine.yaml"))
    assert options == RunOptions(results=Path("some"), data="labels.csv", space="mine.yaml")


def test_data_options_from_python_are_recorded_as_those_of_the_command_line():
    given = {"images": Path("images"), "label_column": "dx", "ordinal": True, "classes": ["low", "high"]}
    options = RunOptions(data_options={**given, "group_lookalikes": False, "test_fraction": 0.2}, seed=3)
    assert options.data_options == {
        "images": "images", "grade_column": "dx", "ordinal": "yes", "classes": "low,high",
        "test_fraction": "0.2", "test_seed": "3",
    }  # fmt: skip


def test_settings_are_read_as_in_a_space():
    given = ["depth_phase.epochs=10", "optimizer.weight_decay = 1e-5", "optimizer.name=sgd", "depth_phase.window=null"]
    assert read_settings(given) == {
        "depth_phase.epochs": 10,
        "optimizer.weight_decay": 1e-5,
        "optimizer.name": "sgd",
        "depth_phase.window": None,
    }
    assert read_settings(["depth_phase.auto_rgn=true", "loss.kind=[1"]) == {
        "depth_phase.auto_rgn": True,
        "loss.kind": "[1",
    }


@pytest.mark.parametrize("text", ["!!bool maybe", "!!timestamp foo", "!!int", '!!int "_"', "[" * 2000])
def test_a_value_that_yaml_cannot_read_is_text(text):
    assert read_settings([f"dropout={text}"]) == {"dropout": text}


@pytest.mark.parametrize("text", ["batch_size", "=16", "batch_size 16"])
def test_a_setting_without_a_value_is_refused(text):
    with pytest.raises(click.UsageError, match="write PATH=VALUE"):
        read_settings([text])


def test_a_setting_given_twice_is_refused():
    with pytest.raises(click.UsageError, match="--set batch_size is given twice"):
        read_settings(["batch_size=8", "batch_size=16"])


def test_values_that_only_python_can_give_are_named_all_at_once():
    with pytest.raises(UsageError) as caught:
        RunOptions(trials="20", jobs=1.5, timeout="10m", goal="deep", executor="dask", log="tensorbord")
    assert caught.value.faults == (
        "trials should be a whole number, not '20'",
        "jobs should be a whole number, not 1.5",
        "timeout should be a number of seconds, not '10m'",
        "goal should be depth or best, not 'deep' (did you mean 'depth'?)",
        "executor should be local or ray, not 'dask'",
        "log should be tensorboard or mlflow or wandb, not 'tensorbord' (did you mean 'tensorboard'?)",
    )
    with pytest.raises(UsageError) as caught:
        RunOptions(data=3, sampler=len, pruner=5, trainer=None, settings=["depth=1"], callbacks=[dict])
    assert caught.value.faults == (
        "data should be a text, not 3",
        "sampler should be a text such as module:function, not <built-in function len>",
        "pruner should be a text such as module:function, not 5",
        "trainer should be a text such as module:function, not None",
        "settings should be a mapping of paths to values, not ['depth=1']",
        "callbacks should be a list of objects, such as [MyCallback()], not [<class 'dict'>]",
    )
    with pytest.raises(UsageError, match="options of the data should be a mapping of names to values"):
        RunOptions(data_options=["images=x"])
    assert RunOptions(trials=np.int64(20), jobs=None).trials == 20
    assert RunOptions(weights=Path("own.pth")).weights == "own.pth"
    # The cross-validation is called with no time left where the search took it all.
    assert RunOptions(timeout=0.0).timeout == 0.0
