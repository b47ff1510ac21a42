"""Trainings in a user's own Tuner: Tune stops them, and their study is read by the commands."""

import math

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from drft import open_dataset, run_trial
from drft.errors import StudyError
from study import read_study, write_report
from study.tune import trainable, write_study
from tests.helpers.fake_training import RAISES
from tests.helpers.ray_cluster import own_cluster
from tests.helpers.small_images import draw_noise, write_table

pytestmark = pytest.mark.timeout(600)

FAKE = "tests.helpers.fake_training:fake_trainer"
SCRIPTED = {
    "fixed": {"image_size": 32, "head_phase.epochs": 2, "depth_phase.epochs": 3},
    "search": {
        "depth": {"type": "int", "low": 0, "high": 3},
        "optimizer.weight_decay": {"type": "categorical", "choices": [0.0, RAISES]},
    },
}
SMALL = {
    "fixed": {"image_size": 32, "head_phase.epochs": 1, "depth_phase.epochs": 1},
    "search": {
        "depth": {"type": "int", "low": 0, "high": 1},
        "depth_phase.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "when": {"depth": {"min": 1}}},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with 60 small images of two classes, and their table."""
    folder = tmp_path_factory.mktemp("own")
    write_table(folder / "labels.csv", ("image", "label"), *((f"{n}.png", "ab"[n % 2]) for n in range(60)))
    for index in range(60):
        draw_noise(folder / f"{index}.png", index, 40 * (index % 2))
    return folder


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        with own_cluster(jobs=2):
            yield


def fit(folder, name, space, param_space, at_once=1, cpus=1, **options):
    """Run a Tuner; ASHA stops the worse half of the trials after their second epoch."""
    return tune.Tuner(
        tune.with_resources(trainable(space, str(folder / "labels.csv"), **options), {"CPU": cpus}),
        param_space=param_space,
        tune_config=tune.TuneConfig(
            metric="best_score", mode="max", max_concurrent_trials=at_once, reuse_actors=True,
            scheduler=ASHAScheduler(grace_period=2, reduction_factor=2, max_t=5),
        ),
        run_config=tune.RunConfig(name=name, storage_path=str(folder / "ray"), verbose=0),
    ).fit()  # fmt: skip


def test_trials_are_stopped_and_fail_one_by_one_and_their_study_says_so(folder, tmp_path):
    depths = {
        "depth": tune.grid_search([3, 9, 2, 0]),
        "optimizer.weight_decay": tune.sample_from(lambda spec: RAISES if spec.config.depth == 2 else 0.0),
    }
    grid = fit(folder, "scripted", SCRIPTED, depths, trainer=FAKE)
    assert grid[0].metrics["training_iteration"] == grid[0].metrics["epoch"] == 5
    assert grid[0].metrics["best_epoch"] == 3
    assert math.isclose(grid[0].metrics["gap"], grid[0].metrics["train_accuracy"] - grid[0].metrics["val_accuracy"])
    source = str(folder / "labels.csv")
    write_study(grid, SCRIPTED, source, "scripted", results=tmp_path, trainer=FAKE)
    study = read_study("scripted", tmp_path)
    trials = study.trials.set_index("number")
    assert list(trials["state"]) == ["COMPLETE", "FAIL", "FAIL", "PRUNED"]
    assert list(trials["last_step"].dropna()) == [5, 1, 2]
    assert trials["best_step"][0] == 3
    assert trials["fail_reason"][1] == "depth: 9 is not in the space space, which has 0 to 3"
    assert trials["fail_reason"][2] == "ValueError: the loss went astray"
    assert "the loss went astray" in (tmp_path / "scripted" / "trials" / "0002" / "failure.txt").read_text()
    assert study.predictions(3).probabilities.shape[0] == 2  # the epochs of the stopped trial
    with pytest.raises(StudyError, match="exists: choose another name"):
        write_study(grid, SCRIPTED, source, "scripted", results=tmp_path, trainer=FAKE)


def test_trainings_equal_those_of_this_process_and_the_report_shows_them(folder, tmp_path):
    space = {"depth": tune.grid_search([1, 0]), "depth_phase.lr": 1e-3, "seed": 5}
    grid = fit(folder, "small", SMALL, space, at_once=2)
    source = str(folder / "labels.csv")
    write_study(grid, SMALL, source, "small", results=tmp_path)
    study = read_study("small", tmp_path)
    assert list(study.trials["state"]) == ["COMPLETE", "COMPLETE"]
    for number in (0, 1):
        alone = run_trial(study.config(number), open_dataset(source))
        assert alone.config.seed == 5
        epochs = study.epochs[study.epochs["trial"] == number]
        assert list(epochs["val_loss"]) == [record.val_loss for record in alone.records]
        assert list(epochs["train_accuracy"]) == [record.train_accuracy for record in alone.records]
        stored = study.predictions(number)
        assert np.array_equal(stored.probabilities, alone.predictions["validation"].probabilities)
        assert study.checkpoint_file(number).is_file()
    page = write_report("small", tmp_path).read_text()
    assert "tune" in page
    write_table(folder / "other.csv", ("image", "label"), *((f"{n}.png", "ab"[n % 3 == 0]) for n in range(60)))
    for options, fault in (
        ({"settings": {"batch_size": 8}}, r"trial 0 .* was trained with another batch_size \(32 there, 8 here\)"),
        ({"data": str(folder / "other.csv")}, "trial 0 .* was trained with other data: give write_study"),
    ):
        with pytest.raises(StudyError, match=fault):
            write_study(grid, SMALL, name="wrong", results=tmp_path, **{"data": source} | options)
    assert not (tmp_path / "wrong").exists()


def test_a_trial_has_as_many_threads_as_cpus(folder):
    trainer = "tests.helpers.fake_training:environment_trainer"
    grid = fit(folder, "threads", SCRIPTED, {"depth": 1, "optimizer.weight_decay": 0.0}, cpus=2, trainer=trainer)
    assert "OMP_NUM_THREADS=2" in str(grid[0].error)
