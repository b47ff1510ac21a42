"""The Python interface: a study is run, and what it found is read from the returned object."""

import sys
from collections import Counter

import numpy as np
import optuna
import pandas as pd
import pytest
from rich.console import Console
from threadpoolctl import threadpool_info, threadpool_limits

import drft
from drft.errors import UsageError
from study import Callback, RunOptions, run_study
from study.analysis import Withheld
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

QUIET = Console(quiet=True)
SPACE = {
    "name": "dict",
    "fixed": {"image_size": 32, "batch_size": 16, "head_phase.epochs": 1, "depth_phase": {"epochs": 1}},
    "search": {
        "depth": {"type": "int", "low": 0, "high": 1},
        "depth_phase.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    },
}
TRAINER = """
from pathlib import Path

from drft import open_dataset, run_trial

def make(workload):
    dataset = open_dataset(workload.source, options=dict(workload.source_options))
    def train(config, on_epoch):
        Path(__file__).with_name("used").touch()
        return run_trial(config, dataset, on_epoch)
    return train
"""


def blas_threads():
    """Return how many threads each library for products of matrices uses in this process."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


class Counts(Callback):
    def __init__(self):
        self.calls = Counter()
        self.threads = set()

    def on_epoch(self, job, record):
        self.calls["epochs"] += 1

    def on_trial_end(self, job, outcome, progress):
        self.calls["trials"] += 1
        self.threads |= blas_threads()


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_table(folder / "labels.csv", ("image", "grade"), *((f"photo{index}", index % 2) for index in range(40)))
    for index in range(40):
        draw_noise(folder / f"photo{index}.png", index, 40 * (index % 2))
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def finished(labels, tmp_path_factory):
    """A study of two depths, and the callback that followed it."""
    counts = Counts()
    options = {"data": str(labels), "backbone": "test_resnet", "weights": "none", "jobs": 1}
    with threadpool_limits(2, "blas"):
        run = run_study(
            trials=4,
            space=SPACE,
            settings={"head_phase.epochs": 2},
            results=tmp_path_factory.mktemp("results"),
            callbacks=[counts],
            console=QUIET,
            **options,
        )
        counts.threads_afterwards = blas_threads()
    return run, counts


def test_a_run_returns_what_the_study_found(finished):
    run, _ = finished
    assert (run.ended, run.progress.finished) == ("done", 4)
    assert isinstance(run.trials, pd.DataFrame)
    assert list(run.trials["depth"]).count(0) == 2
    assert not isinstance(run.verdict, Withheld)
    assert run.report is not None
    assert run.report.is_file()
    assert repr(run).splitlines()[0].startswith("Done after")
    assert f"Train {run.verdict.recommended_depth} of" in repr(run)
    assert str(run.report) in repr(run)


def test_the_best_configuration_is_that_of_the_recommended_depth(finished):
    run, _ = finished
    assert run.best.params.keys() == {"depth", "depth_phase.lr"}
    assert run.best.config.depth == run.best.params["depth"] == run.verdict.recommended_depth
    assert run.best.config.head_phase.epochs == 2
    assert run.best.score == run.verdict.accuracy.value


def test_the_model_predicts_images(finished, labels):
    run, _ = finished
    model = run.model()
    images = [labels.parent / "photo0.png", str(labels.parent / "photo1.png")]
    probabilities = model.predict(images)
    assert probabilities.shape == (2, len(model.classes))
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    members = [drft.predict_images(member, model.image_size, images[:1])[0] for member in model.members]
    assert probabilities[0] == pytest.approx(np.mean(members, axis=0), abs=1e-6)
    assert repr(model).startswith(f"TrainedModel(ensemble of {len(model.members)} networks, 32 pixels")


def test_optuna_reads_the_study(finished):
    run, _ = finished
    study = run.optuna_study()
    assert isinstance(study, optuna.Study)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]


def test_callbacks_follow_the_search_and_the_cross_validation(finished):
    run, counts = finished
    assert counts.calls["trials"] > run.progress.finished
    assert counts.calls["epochs"] >= counts.calls["trials"]


def test_the_tuner_takes_no_cores_from_the_workers(finished):
    _, counts = finished
    assert counts.threads == {1}
    assert max(counts.threads_afterwards) > 1


def test_a_training_function_of_ones_own_is_used(labels, tmp_path, monkeypatch):
    (tmp_path / "my_training.py").write_text(TRAINER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = RunOptions(
        data=str(labels), backbone="test_resnet", weights="none", jobs=1, space=SPACE, results=tmp_path, report=False,
        study="own", goal="best",
    )  # fmt: skip
    run = run_study(options, QUIET, trials=1, trainer="my_training:make")
    assert run.progress.complete == 1, run.reason
    assert (tmp_path / "used").exists()
    sys.modules.pop("my_training", None)
    with pytest.raises(UsageError, match=r"another training function \(my_training:make there, the program's own here"):
        run_study(options, QUIET, trials=2)


def test_an_unknown_option_is_one_line():
    with pytest.raises(UsageError, match=r"run_study has no option 'trails' \(did you mean 'trials'\?\)"):
        run_study(trails=3)


def test_the_version_is_known():
    assert drft.__version__[0].isdigit()
