"""TensorBoard, MLflow and Weights & Biases get every trial, and their errors do not stop a study."""

import struct
import sys
import types

import pytest

from drft.config.trial_config import flat_settings
from drft.errors import UsageError
from study.callbacks.logger import Logger
from study.callbacks.logger_callback import LoggerCallback, check_logger
from study.executors.base import Job, Started
from study.results.progress import StudyProgress
from study.run import run_study
from study.setup.options import RunOptions
from tests.helpers.fake_training import fake_record, fake_result, scripted


def drive(name, folder, messages=None, *, ordinal=True):
    """Log one trial that completes, one that fails, and one that is stopped."""
    notify = ([] if messages is None else messages).append
    callback = LoggerCallback(name, "demo", folder, notify, ordinal=ordinal)
    config = scripted()
    records = [fake_record(config, step) for step in range(1, 6)]
    callback.on_study_begin(StudyProgress(), 3)
    for number in (0, 1, 2):
        job = Job(number, config)
        callback.on_trial_begin(job, Started(number, "local-0", "cpu"))
        for record in records:
            callback.on_epoch(job, record)
        if number < 2:
            outcome = "it broke" if number else fake_result(config, records, "completed")
            callback.on_trial_end(job, outcome, StudyProgress())
    callback.on_study_end()


def scalars(path):
    """Read an event file: records of length, check sum, event and check sum."""
    from tensorboardX.proto.event_pb2 import Event

    content, values, at = path.read_bytes(), [], 0
    while at < len(content):
        (length,) = struct.unpack("<Q", content[at : at + 8])
        event = Event.FromString(content[at + 12 : at + 12 + length])
        values += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        at += 16 + length
    return values


@pytest.mark.parametrize("ordinal", [True, False])
def test_kappa_is_logged_for_ordered_classes_alone(tmp_path, ordinal):
    pytest.importorskip("tensorboardX")
    drive("tensorboard", tmp_path, ordinal=ordinal)
    tags = {tag for events in tmp_path.rglob("events*") for tag, _, _ in scalars(events)}
    assert {"val_accuracy", "final/val_accuracy_best"} <= tags
    assert any("qwk" in tag for tag in tags) == ordinal


def test_tensorboard_has_every_epoch_and_the_final_metrics(tmp_path):
    pytest.importorskip("tensorboardX")
    drive("tensorboard", tmp_path)
    folder = tmp_path / "tensorboard"
    assert sorted(path.name for path in folder.iterdir()) == ["0000", "0001", "0002"]
    (events,) = (folder / "0000").glob("events*")
    curve = [(step, round(value, 6)) for tag, step, value in scalars(events) if tag == "val_accuracy"]
    config = scripted()
    assert curve == [(step, round(fake_record(config, step).val_accuracy, 6)) for step in range(1, 6)]
    (final,) = (folder / "0000/final").glob("events*")
    assert ("final/best_step", 3.0) in [(tag, value) for tag, _, value in scalars(final)]
    assert len([1 for events in (folder / "0002").glob("events*") for _ in scalars(events)]) > 5


class Calls(list):
    """Replaces a client or a run of a package, and records its calls."""

    def __getattr__(self, name):
        def call(*positional, **named):
            self.append((name, positional, named))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id=f"run{len(self)}"), experiment_id="7")

        return call


def test_mlflow_has_a_run_for_every_trial(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, uris = Calls(), []
    module = types.SimpleNamespace(MlflowClient=lambda uri: uris.append(uri) or client)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.delitem(sys.modules, "study.callbacks.mlflow", raising=False)
    drive("mlflow", tmp_path)
    assert uris == [(tmp_path / "mlruns").as_uri()]
    named = [call[0] for call in client]
    assert named.count("create_run") == 3
    metrics = [(args[1], args[2], more.get("step")) for name, args, more in client if name == "log_metric"]
    assert len([step for key, _, step in metrics if key == "val_accuracy"]) == 15
    assert ("final_best_step", 3.0, None) in metrics
    assert [args[1] for name, args, _ in client if name == "set_terminated"] == ["FINISHED", "FAILED", "KILLED"]


def test_wandb_has_a_run_for_each_trial_and_sends_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    opened = []

    def init(**settings):
        run = Calls()
        run.summary = {}
        opened.append((settings, run))
        return run

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    monkeypatch.delitem(sys.modules, "study.callbacks.wandb", raising=False)
    drive("wandb", tmp_path)
    assert [(settings["mode"], settings["dir"], settings["group"]) for settings, _ in opened] == [
        ("offline", str(tmp_path), "demo")
    ] * 3
    settings, run = opened[0]
    assert settings["config"]["depth_phase.epochs"] == 3
    assert [more["step"] for name, _, more in run if name == "log"] == [1, 2, 3, 4, 5]
    assert run.summary["final/best_step"] == 3.0
    assert [[more["exit_code"] for name, _, more in run if name == "finish"] for _, run in opened] == [[0], [1], [1]]


@pytest.mark.parametrize("method", ["open", "begin_trial", "log_epoch", "end_trial", "close"])
def test_an_error_of_a_logger_is_shown_once_and_the_run_continues(tmp_path, monkeypatch, method):
    class Broken(Logger):
        pass

    def fail(*_):
        raise OSError("no space left\non the device")

    setattr(Broken, method, fail)
    opened = fail if method == "open" else lambda *_: Broken()
    monkeypatch.setattr("study.callbacks.logger_callback.open_logger", opened)
    messages = []
    drive("mlflow", tmp_path, messages)
    assert messages == ["--log mlflow does not work, and nothing more is logged (OSError: no space left)"]


def test_a_missing_package_is_one_line_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'wandb.*'"):
        run_study(RunOptions(log="wandb", results=tmp_path / "results"))
    assert not (tmp_path / "results").exists()
    check_logger(None)


def test_settings_are_named_by_their_path():
    settings = flat_settings(scripted(depth=4).model_dump(mode="json"))
    assert settings["depth"] == 4
    assert settings["head_phase.epochs"] == 2
