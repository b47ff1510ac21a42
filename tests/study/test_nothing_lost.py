"""One contract for tuner, executors and storages together: whatever happens, no trial is lost and none counts twice."""

import contextlib
import csv
import fcntl
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
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
from tests.helpers.tuner_process import TunerProcess, drive, executing

pytestmark = pytest.mark.timeout(600)

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


class Environment:
    """An executor, and two tuners in processes of their own, on this machine or on a Ray cluster.

    Args:
        kind: ``local`` or ``ray``.
        gate: trainings with ``WAITS`` wait while this file is locked.
        address: of the Ray cluster.
        executor: of this process.
    """

    def __init__(self, kind: str, gate: Path, address: str | None, executor: Executor) -> None:
        self.kind = kind
        self.executor = executor
        self._arguments = (kind, gate, address)
        self._gate = gate
        self._tuners: list[TunerProcess] = []

    @contextmanager
    def closed_gate(self) -> Iterator[None]:
        with self._gate.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def tuner(self, index: int = 0) -> TunerProcess:
        """Return one of the tuners; one that was killed is replaced."""
        if not self._tuners:
            self._tuners += [TunerProcess(*self._arguments) for _ in range(2)]
        if not self._tuners[index].lives:
            self._tuners[index] = TunerProcess(*self._arguments)
        return self._tuners[index]

    def close(self) -> None:
        for tuner in self._tuners:
            tuner.end()


@contextmanager
def open_environment(kind: str, gate: Path) -> Iterator[Environment]:
    gate.touch()
    with own_cluster(jobs=8) if kind == "ray" else nullcontext(), executing(kind, str(gate)) as executor:
        address = ray.get_runtime_context().gcs_address if kind == "ray" else None
        with closing(Environment(kind, gate, address, executor)) as environment:
            yield environment


@pytest.fixture(scope="module")
def environment_of(tmp_path_factory):
    """Return the environment of a kind, which opens when it is first used and lasts to the end."""
    folder, opened = tmp_path_factory.mktemp("gates"), {}
    with ExitStack() as stack:

        def environment_of(kind: str) -> Environment:
            if kind not in opened:
                opened[kind] = stack.enter_context(open_environment(kind, folder / kind))
            return opened[kind]

        yield environment_of


class Study(NamedTuple):
    """The study of a test."""

    environment: Environment
    url: str
    folder: Path

    @property
    def location(self) -> dict[str, str]:
        return {"url": self.url, "folder": str(self.folder)}

    def run(self, *args, **kwargs) -> RunOutcome:
        return drive(self.environment.executor, self.url, self.folder, *args, **kwargs)

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
        """Check that every trial has ended once and that its files agree with the storage; return the trials."""
        trials = self.trials
        assert {trial.state for trial in trials} <= {COMPLETE, PRUNED, FAIL}
        result = audit(trials, self.folder, finished, None, replays=0)
        assert (result.faults, result.half_written) == ([], 0)
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


@pytest.fixture(
    params=[
        ("local", "sqlite"),
        ("local", "postgresql"),
        ("local", "journal"),
        ("ray", "postgresql"),  # executors use no storage: one of them stands for all on Ray
    ],
    ids="-".join,
)
def study(request, environment_of, tmp_path):
    kind, storage = request.param
    return Study(environment_of(kind), request.getfixturevalue(storage), tmp_path / "study")


def retries(trials):
    """Return, for each trial, which trial it repeats."""
    return [trial.user_attrs.get("retry_of") for trial in trials]


def check_same_training(first: FrozenTrial, again: FrozenTrial) -> None:
    """Compare two configurations, except for the trouble of the first."""
    assert again.params == first.params
    first_config, config = (json.loads(trial.user_attrs["config"]) for trial in (first, again))
    assert config == first_config | {"optimizer": config["optimizer"]}


class TestEndings:
    def test_finished_trials_are_stored_whole(self, study):
        assert study.run(4, checkpoints=1).ended == "done"
        trials = study.check(4)
        assert [trial.state for trial in trials] == 4 * [COMPLETE]
        for trial in trials:
            assert len(unpack(trial.user_attrs)) == len(trial.intermediate_values) == 5
            assert trial.value == max(record.val_accuracy for record in unpack(trial.user_attrs))
            assert {"worker", "device", "best_step", "seconds"} <= trial.user_attrs.keys()
            with np.load(study.trial_folder(trial.number) / "predictions.npz") as stored:
                assert (stored["train_probabilities"] == fake_predictions("train", 5, 2).probabilities).all()
        best = max(trials, key=lambda trial: (trial.value, -trial.number)).number
        assert [trial.number for trial in trials if CHECKPOINT in study.files(trial.number)] == [best]

    def test_pruned_trials_keep_every_epoch(self, study):
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

    def test_a_training_that_diverges_fails_and_is_not_retried(self, study):
        study.run(2, {0: DIVERGES, 1: EXPLODES}, retries=2)
        trials = study.check(2)
        assert retries(trials) == 4 * [None]
        assert [trial.state for trial in trials] == [FAIL, FAIL, COMPLETE, COMPLETE]
        assert trials[0].user_attrs["fail_reason"] == "validation accuracy became nan in epoch 2"
        assert trials[1].user_attrs["fail_reason"] == "the training loss became nan at step 2"
        assert np.isnan(unpack(trials[0].user_attrs)[-1].val_accuracy)

    @pytest.mark.parametrize(("trouble", "name"), [(DIES, "SIGKILL"), (FAULTS, "SIGSEGV")])
    def test_a_worker_that_crashes_fails_only_its_trial_which_is_retried(self, study, trouble, name):
        study.run(3, {0: trouble}, retries=1)
        trials = study.check(3)
        assert Counter(trial.state for trial in trials) == {COMPLETE: 3, FAIL: 1}
        assert name in trials[0].user_attrs["fail_reason"]
        (again,) = [trial for trial in trials if trial.user_attrs.get("retry_of") == 0]
        check_same_training(trials[0], again)
        assert len(unpack(trials[0].user_attrs)) == 1

    def test_a_trial_that_hangs_ends_at_its_time_limit(self, study):
        study.run(1, {0: HANGS}, retries=9, trial_seconds=1.0)
        trials = study.check(1)
        assert trials[0].user_attrs["fail_reason"] == "it took longer than 1 s, the limit of --trial-timeout"
        assert trials[-1].state == COMPLETE
        check_same_training(trials[0], trials[-1])

    def test_a_trial_out_of_memory_is_retried_with_smaller_micro_batches(self, study):
        study.run(1, {0: STARVES, 1: STARVES}, retries=1, values={"batch_size": 16})
        trials = study.check(1)
        assert retries(trials) == [None, 0, 1]
        configs = [json.loads(trial.user_attrs["config"]) for trial in trials]
        assert [config["micro_batch"] for config in configs] == [None, 8, 4]
        assert {(config["batch_size"], config["seed"]) for config in configs} == {(16, configs[0]["seed"])}

    def test_retries_are_limited(self, study):
        study.run(1, dict.fromkeys(range(3), DIES), retries=2)
        trials = study.check(1)
        assert retries(trials) == [None, 0, 1, None]
        assert [trial.state for trial in trials] == [FAIL, FAIL, FAIL, COMPLETE]

    def test_thousands_of_records_and_megabytes_of_predictions_are_stored_whole(self, study):
        study.run(1, {0: SWELLS}, values={"head": 500, "epochs": 500})
        (trial,) = study.check(1)
        assert [record.step for record in unpack(trial.user_attrs)] == list(range(1, 1001))
        with (study.trial_folder(0) / "epochs.csv").open(newline="") as file:
            assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, 1001))
        with np.load(study.trial_folder(0) / "predictions.npz") as stored:
            for part in PARTS:
                sent, name = fake_predictions(part, 1000, MANY), "sealed_test" if part == "test" else part
                assert (stored[f"{name}_probabilities"] == sent.probabilities).all()
                assert tuple(stored[f"{name}_ids"]) == sent.ids

    def test_an_endless_message_with_invalid_characters_is_stored_readable(self, study):
        study.run(1, {0: RANTS})
        trials = study.check(1)
        reason = trials[0].user_attrs["fail_reason"]
        assert reason.startswith("ValueError: \\udcff\0 [bold]")
        assert len(reason) < 1000
        assert RANT[-1_000_000:] in study.failure(0)


class TestStudies:
    def test_at_the_time_limit_running_trials_are_queued_again(self, study):
        outcome = study.run(4, dict.fromkeys(range(2), HANGS), seconds=0.5)
        assert (outcome.ended, outcome.requeued, outcome.progress.running) == ("time", 2, 0)
        assert study.run(4).ended == "done"
        trials = study.check(4)
        assert [trial.user_attrs.get("fail_reason") for trial in trials[:2]] == 2 * ["stopped by the time limit"]
        assert sorted(retries(trials)[2:4]) == [0, 1]

    def test_a_study_with_too_many_failures_stops_with_the_most_common_reason(self, study):
        troubles = dict.fromkeys(range(50), RAISES) | {1: DIVERGES}
        outcome = study.run(20, troubles)
        assert (outcome.ended, outcome.reason) == ("failing", "ValueError: the loss went astray")
        assert outcome.progress.failed - FEW_FAILURES in range(study.environment.executor.slots)  # they may end at once
        assert outcome.progress.running == 0
        assert study.run(3, failure_limit=1.0).ended == "done"
        study.check(3)

    def test_a_worker_that_dies_between_two_trials_fails_none(self, study):
        study.run(2)
        executor = study.environment.executor
        if study.environment.kind == "ray":
            for worker in {trial.user_attrs["worker"] for trial in study.trials}:
                with contextlib.suppress(ProcessLookupError):  # Tune has ended an actor that had nothing to do
                    os.kill(int(worker.rpartition("-")[2]), signal.SIGKILL)
        else:
            for worker in executor._workers:
                worker.kill()
        study.run(4)
        assert [trial.state for trial in study.check(4)] == 4 * [COMPLETE]


class TestTuners:
    """Tuners in processes of their own, which are disturbed while two trials run."""

    def test_one_ctrl_c_lets_running_trials_finish(self, study):
        tuner = study.environment.tuner()
        with study.environment.closed_gate():
            tuner.run(**study.location, trials=6, troubles={0: WAITS, 1: WAITS})
            tuner.read_until("epoch 0 1", "epoch 1 1")
            tuner.press_ctrl_c()
            assert "2 running trials finish first" in tuner.read_until("message")
        assert tuner.outcome() == ("interrupted", 0)
        assert [trial.state for trial in study.check(2)] == 2 * [COMPLETE]
        tuner.run(**study.location, trials=4)
        assert tuner.outcome() == ("done", 0)
        assert len(study.check(4)) == 4

    def test_two_ctrl_c_stop_running_trials_and_queue_them_again(self, study):
        tuner = study.environment.tuner()
        tuner.run(**study.location, trials=4, troubles={0: HANGS, 1: HANGS})
        tuner.read_until("epoch 0 1", "epoch 1 1")
        tuner.press_ctrl_c()
        tuner.read_until("message")
        tuner.press_ctrl_c()
        assert tuner.outcome() == ("interrupted", 2)
        assert Counter(trial.state.name for trial in study.trials) == {"FAIL": 2, "WAITING": 2}
        tuner.run(**study.location, trials=4)
        assert tuner.outcome() == ("done", 0)
        trials = study.check(4)
        assert retries(trials) == [None, None, 0, 1, None, None]
        assert {trial.user_attrs["fail_reason"] for trial in trials[:2]} == {"interrupted"}
        check_same_training(trials[0], trials[2])

    def test_two_tuners_share_a_study(self, study):
        tuners = [study.environment.tuner(0), study.environment.tuner(1)]
        with study.environment.closed_gate():
            for tuner in tuners:
                tuner.run(**study.location, trials=20, troubles=dict.fromkeys(range(4), WAITS))
            for tuner in tuners:  # each waits with two trials of the first four
                tuner.read_until("epoch")
                tuner.read_until("epoch")
        assert [tuner.outcome() for tuner in tuners] == [("done", 0), ("done", 0)]
        trials = study.check(20)
        assert Counter(trial.state for trial in trials) == {COMPLETE: 20}
        assert len({trial.user_attrs["owner"] for trial in trials}) == 2

    def test_trials_of_a_killed_tuner_are_neither_lost_nor_counted_twice(self, study):
        tuner, successor = study.environment.tuner(0), study.environment.tuner(1)
        tuner.run(**study.location, trials=6, troubles={2: HANGS, 3: HANGS})
        tuner.read_until("epoch 2 1", "epoch 3 1")
        tuner.kill()
        study.environment.tuner(0)  # the next test needs it: it starts while this test continues
        assert Counter(trial.state.name for trial in study.trials) == {"COMPLETE": 2, "RUNNING": 2}
        successor.run(**study.location, trials=6)
        assert successor.outcome() == ("done", 0)
        trials = study.check(6)
        assert retries(trials) == [None, None, None, None, 2, 3, None, None]
        assert {trial.user_attrs["fail_reason"] for trial in trials[2:4]} == {"its tuner died"}
        check_same_training(trials[2], trials[4])


@pytest.mark.parametrize(
    "end", [lambda scheduler: scheduler.fail(0, "it broke"), lambda scheduler: scheduler.interrupt("stopped")]
)
def test_a_trial_that_another_tuner_took_over_is_queued_once(url, end):
    slow, other = open_scheduler(url, retries=1), open_scheduler(url)
    slow.ask()
    other._is_abandoned = lambda _trial: True
    assert other.reclaim() == [0]
    end(slow)
    assert retries(other.tally.trials()) == [None, 0]
    for scheduler in (slow, other):
        close_storage(scheduler._storage._storage)
