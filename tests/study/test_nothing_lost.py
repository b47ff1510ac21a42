"""One contract for driver, executors and storages together: whatever happens, nothing is lost and nothing is twice."""

import csv
import fcntl
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
import pytest
import ray
import yaml
from optuna.trial import FrozenTrial, TrialState

from benchmarks.study_audit import audit
from drft.training.records import PARTS
from study.executors import Executor
from study.results.epochs import unpack
from study.results.progress import FINISHED
from study.results.study_folder import CHECKPOINT
from study.space.seeds import is_control
from study.storage.open import close_storage, open_storage
from study.tuner.stopping import RunOutcome
from study.tuner.tuner import FEW_FAILURES
from tests.helpers.fake_training import (
    DIES,
    DIVERGES,
    EXPLODES,
    FAULTS,
    HANGS,
    MANY,
    RAISES,
    RANT,
    RANTS,
    STARVES,
    SWELLS,
    WAITS,
    fake_predictions,
)
from tests.helpers.ray_cluster import own_cluster
from tests.helpers.small_study import Refuses, open_scheduler
from tests.helpers.tuner_process import LoneDriver, drive, executing

pytestmark = pytest.mark.timeout(300)

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


class Place(NamedTuple):
    """Where trainings run."""

    kind: str
    gate: Path
    """Trainings that wait go on when nobody holds this file."""
    address: str | None = None

    @contextmanager
    def shut(self) -> Iterator[None]:
        with self.gate.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@pytest.fixture(scope="module", params=["local", "ray"])
def place(request, tmp_path_factory):
    gate = tmp_path_factory.mktemp("gate") / "gate"
    gate.touch()
    if request.param == "local":
        yield Place("local", gate)
    else:
        with own_cluster(jobs=8):
            yield Place("ray", gate, ray.get_runtime_context().gcs_address)


@pytest.fixture(scope="module")
def executor(place):
    with executing(place.kind, str(place.gate)) as executor:
        yield executor


@pytest.fixture(scope="module")
def lone(place):
    """Give one of two drivers in processes of their own; one that was killed has a successor."""
    drivers: dict[int, LoneDriver] = {}

    def lone(index: int = 0) -> LoneDriver:
        if index not in drivers or not drivers[index].lives:
            drivers[index] = LoneDriver(*place)
        return drivers[index]

    yield lone
    for driver in drivers.values():
        driver.end()


class Study(NamedTuple):
    """The study of a test."""

    executor: Executor
    url: str
    folder: Path

    @property
    def where(self) -> dict[str, str]:
        return {"url": self.url, "folder": str(self.folder)}

    def run(self, *how, **named) -> RunOutcome:
        return drive(self.executor, self.url, self.folder, *how, **named)

    @property
    def trials(self) -> list[FrozenTrial]:
        storage = open_storage(self.url)
        try:
            return optuna.load_study(study_name="demo", storage=storage).get_trials()
        finally:
            close_storage(storage)

    def trial_folder(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"

    def files(self, number: int) -> set[str]:
        folder = self.trial_folder(number)
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def failure(self, number: int) -> str:
        return (self.trial_folder(number) / "failure.txt").read_text()

    def check(self, finished: int) -> list[FrozenTrial]:
        """Every trial has one ending, and files that say what the storage says; return the trials."""
        trials = self.trials
        assert {trial.state for trial in trials} <= {COMPLETE, PRUNED, FAIL}
        books = audit(trials, self.folder, finished, None, replays=0)
        assert (books.faults, books.half_written) == ([], 0)
        for trial in trials:
            self._check_files(trial)
        return trials

    def _check_files(self, trial: FrozenTrial) -> None:
        files = self.files(trial.number) - {CHECKPOINT}
        if trial.state in FINISHED:
            assert files == {"config.yaml", "epochs.csv", "predictions.npz"}
        elif "requeued" in trial.user_attrs:
            assert files == set()
            return
        else:
            assert files == {"config.yaml", "failure.txt"}
            assert self.failure(trial.number).startswith(trial.user_attrs["fail_reason"])
        written = yaml.safe_load((self.trial_folder(trial.number) / "config.yaml").read_text())
        assert written == json.loads(trial.user_attrs["config"])


@pytest.fixture
def study(place, executor, url, tmp_path):
    if place.kind == "ray" and url.startswith("journal"):
        pytest.skip("executors know no storage: local trainings stand for those on Ray")
    return Study(executor, url, tmp_path / "study")


def retries(trials):
    """Return which trial each one repeats."""
    return [trial.user_attrs.get("retry_of") for trial in trials]


def check_same_training(first: FrozenTrial, again: FrozenTrial) -> None:
    """Compare two configurations, but for the trouble that the first had."""
    assert again.params == first.params
    one, other = (json.loads(trial.user_attrs["config"]) for trial in (first, again))
    assert other == one | {"optimizer": other["optimizer"]}


class TestEndings:
    def test_finished_trials_are_kept_whole(self, study):
        assert study.run(4, checkpoints=1).ended == "done"
        trials = study.check(4)
        assert [trial.state for trial in trials] == 4 * [COMPLETE]
        for trial in trials:
            assert len(unpack(trial.user_attrs)) == len(trial.intermediate_values) == 5
            assert trial.value == max(record.val_accuracy for record in unpack(trial.user_attrs))
            assert {"worker", "device", "best_step", "seconds"} <= trial.user_attrs.keys()
            with np.load(study.trial_folder(trial.number) / "predictions.npz") as kept:
                assert (kept["train_probabilities"] == fake_predictions("train", 5, 2).probabilities).all()
        best = max(trials, key=lambda trial: (trial.value, -trial.number)).number
        assert [trial.number for trial in trials if CHECKPOINT in study.files(trial.number)] == [best]

    def test_pruned_trials_keep_every_step(self, study):
        study.run(4, pruner=Refuses())
        trials = study.check(4)
        pruned = [trial for trial in trials if not is_control(0, trial.number)]
        assert {trial.state for trial in pruned} == {PRUNED}
        for trial in pruned:
            assert [record.step for record in unpack(trial.user_attrs)] == list(trial.intermediate_values) == [1, 2, 3]
            assert trial.user_attrs["ending"] == "pruned"

    def test_an_exception_fails_its_trial_with_the_traceback(self, study):
        study.run(2, {1: RAISES})
        trials = study.check(2)
        assert [trial.state for trial in trials] == [COMPLETE, FAIL, COMPLETE]
        assert trials[1].user_attrs["fail_reason"] == "ValueError: the loss went astray"
        assert "Traceback" in study.failure(1)
        assert "make_trouble" in study.failure(1)
        assert (trials[1].value, len(unpack(trials[1].user_attrs))) == (None, 1)

    def test_what_diverges_fails_and_is_not_tried_again(self, study):
        study.run(2, {0: DIVERGES, 1: EXPLODES}, retries=2)
        trials = study.check(2)
        assert retries(trials) == 4 * [None]
        assert [trial.state for trial in trials] == [FAIL, FAIL, COMPLETE, COMPLETE]
        assert trials[0].user_attrs["fail_reason"] == "validation accuracy became nan at step 2"
        assert trials[1].user_attrs["fail_reason"] == "the training loss became nan at step 2"
        assert np.isnan(unpack(trials[0].user_attrs)[-1].val_accuracy)

    @pytest.mark.parametrize(("trouble", "name"), [(DIES, "SIGKILL"), (FAULTS, "SIGSEGV")])
    def test_a_worker_that_crashes_fails_its_trial_alone_which_is_tried_again(self, study, trouble, name):
        study.run(3, {0: trouble}, retries=1)
        trials = study.check(3)
        assert Counter(trial.state for trial in trials) == {COMPLETE: 3, FAIL: 1}
        assert name in trials[0].user_attrs["fail_reason"]
        (again,) = [trial for trial in trials if trial.user_attrs.get("retry_of") == 0]
        check_same_training(trials[0], again)
        assert len(unpack(trials[0].user_attrs)) == 1

    def test_a_trial_that_hangs_is_ended_at_its_time_limit(self, study):
        study.run(1, {0: HANGS}, retries=9, trial_seconds=1.0)
        trials = study.check(1)
        assert trials[0].user_attrs["fail_reason"] == "it took longer than 1 s, the limit of --trial-timeout"
        assert trials[-1].state == COMPLETE
        check_same_training(trials[0], trials[-1])

    def test_what_lacks_memory_is_tried_in_smaller_pieces(self, study):
        study.run(1, {0: STARVES, 1: STARVES}, retries=1, values={"batch_size": 16})
        trials = study.check(1)
        assert retries(trials) == [None, 0, 1]
        configs = [json.loads(trial.user_attrs["config"]) for trial in trials]
        assert [config["micro_batch"] for config in configs] == [None, 8, 4]
        assert {(config["batch_size"], config["seed"]) for config in configs} == {(16, configs[0]["seed"])}

    def test_tries_come_to_an_end(self, study):
        study.run(1, dict.fromkeys(range(3), DIES), retries=2)
        trials = study.check(1)
        assert retries(trials) == [None, 0, 1, None]
        assert [trial.state for trial in trials] == [FAIL, FAIL, FAIL, COMPLETE]

    def test_thousands_of_records_and_megabytes_of_predictions_arrive_whole(self, study):
        study.run(1, {0: SWELLS}, values={"head": 500, "epochs": 500})
        (trial,) = study.check(1)
        assert [record.step for record in unpack(trial.user_attrs)] == list(range(1, 1001))
        with (study.trial_folder(0) / "epochs.csv").open(newline="") as file:
            assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, 1001))
        with np.load(study.trial_folder(0) / "predictions.npz") as kept:
            for part in PARTS:
                sent, name = fake_predictions(part, 1000, MANY), "sealed_test" if part == "test" else part
                assert (kept[f"{name}_probabilities"] == sent.probabilities).all()
                assert tuple(kept[f"{name}_ids"]) == sent.ids

    def test_an_endless_message_no_file_could_take_is_kept_readable(self, study):
        study.run(1, {0: RANTS})
        trials = study.check(1)
        reason = trials[0].user_attrs["fail_reason"]
        assert reason.startswith("ValueError: \\udcff\0 [bold]")
        assert len(reason) < 1000
        assert RANT[-1_000_000:] in study.failure(0)


class TestStudies:
    def test_when_time_is_up_what_runs_is_queued_again(self, study):
        outcome = study.run(4, dict.fromkeys(range(2), HANGS), seconds=0.5)
        assert (outcome.ended, outcome.requeued, outcome.progress.running) == ("time", 2, 0)
        assert study.run(4).ended == "done"
        trials = study.check(4)
        assert [trial.user_attrs.get("fail_reason") for trial in trials[:2]] == 2 * ["stopped by the time limit"]
        assert sorted(retries(trials)[2:4]) == [0, 1]

    def test_a_study_in_which_too_much_fails_stops_with_the_commonest_reason(self, study):
        troubles = dict.fromkeys(range(50), RAISES) | {1: DIVERGES}
        outcome = study.run(20, troubles)
        assert (outcome.ended, outcome.reason) == ("failing", "ValueError: the loss went astray")
        assert outcome.progress.failed - FEW_FAILURES in range(study.executor.slots)  # they may end at once
        assert outcome.progress.running == 0
        assert study.run(3, failure_limit=1.0).ended == "done"
        study.check(3)

    def test_a_worker_that_dies_between_two_trials_takes_none_with_it(self, place, study):
        study.run(2)
        workers = [post._actor for post in study.executor._posts] if place.kind == "ray" else study.executor._workers
        for worker in workers:
            ray.kill(worker) if place.kind == "ray" else worker.kill()
        study.run(4)
        assert [trial.state for trial in study.check(4)] == 4 * [COMPLETE]


class TestDrivers:
    """Drivers in processes of their own, disturbed while two trials are under way."""

    def test_one_ctrl_c_lets_finish_what_runs(self, place, study, lone):
        driver = lone()
        with place.shut():
            driver.run(**study.where, trials=6, troubles={0: WAITS, 1: WAITS})
            driver.read_until("epoch 0 1", "epoch 1 1")
            driver.press_ctrl_c()
            assert "finished first (2)" in driver.read_until("notice")
        assert driver.outcome() == ("interrupted", 0)
        assert [trial.state for trial in study.check(2)] == 2 * [COMPLETE]
        driver.run(**study.where, trials=4)
        assert driver.outcome() == ("done", 0)
        assert len(study.check(4)) == 4

    def test_two_ctrl_c_stop_what_runs_and_queue_it_again(self, study, lone):
        driver = lone()
        driver.run(**study.where, trials=4, troubles={0: HANGS, 1: HANGS})
        driver.read_until("epoch 0 1", "epoch 1 1")
        driver.press_ctrl_c()
        driver.read_until("notice")
        driver.press_ctrl_c()
        assert driver.outcome() == ("interrupted", 2)
        assert Counter(trial.state.name for trial in study.trials) == {"FAIL": 2, "WAITING": 2}
        driver.run(**study.where, trials=4)
        assert driver.outcome() == ("done", 0)
        trials = study.check(4)
        assert retries(trials) == [None, None, 0, 1, None, None]
        assert {trial.user_attrs["fail_reason"] for trial in trials[:2]} == {"interrupted"}
        check_same_training(trials[0], trials[2])

    def test_two_drivers_share_a_study(self, place, study, lone):
        drivers = [lone(0), lone(1)]
        with place.shut():
            for driver in drivers:
                driver.run(**study.where, trials=20, troubles=dict.fromkeys(range(4), WAITS))
            for driver in drivers:  # each waits with two trials of the first four
                driver.read_until("epoch")
                driver.read_until("epoch")
        assert [driver.outcome() for driver in drivers] == [("done", 0), ("done", 0)]
        trials = study.check(20)
        assert Counter(trial.state for trial in trials) == {COMPLETE: 20}
        assert len({trial.user_attrs["owner"] for trial in trials}) == 2

    def test_a_killed_driver_loses_nothing_and_doubles_nothing(self, study, lone):
        driver = lone()
        driver.run(**study.where, trials=6, troubles={2: HANGS, 3: HANGS})
        driver.read_until("epoch 2 1", "epoch 3 1")
        driver.kill()
        assert Counter(trial.state.name for trial in study.trials) == {"COMPLETE": 2, "RUNNING": 2}
        successor = lone()
        successor.run(**study.where, trials=6)
        assert successor.outcome() == ("done", 0)
        trials = study.check(6)
        assert retries(trials) == [None, None, None, None, 2, 3, None, None]
        assert {trial.user_attrs["fail_reason"] for trial in trials[2:4]} == {"its driver died"}
        check_same_training(trials[2], trials[4])


@pytest.mark.parametrize("end", [lambda driver: driver.fail(0, "it broke"), lambda driver: driver.interrupt("stopped")])
def test_a_trial_that_another_driver_took_over_is_queued_once(url, end):
    slow, other = open_scheduler(url, retries=1), open_scheduler(url)
    slow.ask()
    other._is_abandoned = lambda _trial: True
    assert other.reclaim() == [0]
    end(slow)
    assert retries(other.trials()) == [None, 0]
    for scheduler in (slow, other):
        close_storage(scheduler._ledger._backend)
