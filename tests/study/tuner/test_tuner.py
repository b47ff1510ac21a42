"""The tuner runs exactly the wanted trials, whatever trials, users and clocks do."""

import errno
import signal
import sys

import optuna
import pytest

from drft.config.trial_config import TrialConfig
from drft.errors import StudyError
from study.callbacks.callback import Callback
from study.results.study_folder import CHECKPOINT, StudyFolder
from study.tuner.stopping import StoppingCriterion
from study.tuner.tuner import FEW_FAILURES, Tuner
from tests.helpers.fake_training import DIVERGES, HANGS, RAISES, STARVES
from tests.helpers.small_study import DepthSpace, InProcess, Refuses, open_scheduler

COMPLETE, PRUNED, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL


@pytest.fixture
def drive(tmp_path):
    def drive(trials=4, space=None, pruner=None, executor=None, callback=None, retries=0, **stopping):
        folder = StudyFolder(tmp_path)
        folder.write_study("", {})
        tuner = Tuner(
            scheduler=open_scheduler(tmp_path, space, pruner, retries=retries),
            executor=executor or InProcess(),
            folder=folder,
            callbacks=[callback or Callback()],
            stopping=StoppingCriterion(trials, **stopping),
        )
        return tuner.run(), tuner

    return drive


def folders(tuner):
    return sorted(path.name for path in (tuner.folder.path / "trials").iterdir())


def test_every_finished_trial_has_a_folder(drive):
    outcome, tuner = drive(4)
    assert (outcome.ended, outcome.progress.complete, outcome.requeued) == ("done", 4, 0)
    assert folders(tuner) == ["0000", "0001", "0002", "0003"]


def test_pruned_trials_count_and_have_folders(drive):
    outcome, tuner = drive(4, pruner=Refuses())
    assert outcome.progress.finished == 4
    assert outcome.progress.pruned >= 3
    assert len(folders(tuner)) == 4


def test_resuming_adds_only_missing_trials(drive):
    drive(3)
    outcome, tuner = drive(5)
    assert (outcome.progress.finished, len(tuner.scheduler.tally.trials())) == (5, 5)
    outcome, tuner = drive(5)
    assert (outcome.ended, len(tuner.scheduler.tally.trials())) == ("done", 5)


def test_slots_are_used_but_never_for_more_than_is_wanted(drive):
    executor = InProcess(slots=8)
    _, tuner = drive(3, executor=executor)
    assert executor.most_at_once == 3
    assert len(tuner.scheduler.tally.trials()) == 3


def test_failed_trials_are_replaced_and_leave_their_traceback(drive):
    outcome, tuner = drive(3, DepthSpace({1: RAISES}))
    assert (outcome.ended, outcome.progress.complete, outcome.progress.failed) == ("done", 3, 1)
    assert tuner.scheduler.tally.trials()[1].user_attrs["fail_reason"] == "trouble 1"
    assert "Traceback: here" in (tuner.folder.trial(1) / "failure.txt").read_text()


def test_a_diverged_trial_fails_with_the_epoch(drive):
    _, tuner = drive(2, DepthSpace({0: DIVERGES}))
    trial = tuner.scheduler.tally.trials()[0]
    assert (trial.state, trial.value) == (FAIL, None)
    assert trial.user_attrs["fail_reason"] == "validation accuracy became nan in epoch 2"


def test_a_study_in_which_everything_fails_stops_and_says_why(drive):
    outcome, tuner = drive(100, DepthSpace(dict.fromkeys(range(200), RAISES)), executor=InProcess(slots=1))
    assert (outcome.ended, outcome.reason, outcome.progress.failed) == ("failing", "trouble 1", FEW_FAILURES)
    assert len(tuner.scheduler.tally.trials()) == FEW_FAILURES


@pytest.mark.parametrize(("limit", "ended"), [(0.5, "failing"), (0.8, "done")])
def test_too_many_failures_end_a_run(drive, limit, ended):
    troubles = {number: RAISES for number in range(20) if number % 3}
    outcome, _ = drive(6, DepthSpace(troubles), executor=InProcess(slots=1), failure_limit=limit)
    assert (outcome.ended, outcome.progress.failed) == (ended, 10 if ended == "done" else FEW_FAILURES)


def test_few_failures_do_not_end_a_run(drive):
    outcome, _ = drive(1, DepthSpace(dict.fromkeys(range(FEW_FAILURES - 1), RAISES)), executor=InProcess(slots=1))
    assert (outcome.ended, outcome.progress.failed) == ("done", FEW_FAILURES - 1)


def test_a_failed_trial_is_retried_with_the_same_configuration(drive):
    outcome, tuner = drive(2, DepthSpace({0: RAISES}), executor=InProcess(slots=1), retries=2)
    first, second, third = tuner.scheduler.tally.trials()
    assert (first.state, second.state, outcome.progress.failed) == (FAIL, COMPLETE, 1)
    assert (second.params, second.user_attrs["retry_of"]) == (first.params, 0)
    assert second.user_attrs["seed"] == first.user_attrs["seed"]
    assert "retry_of" not in third.user_attrs


def test_retries_are_limited(drive):
    outcome, tuner = drive(1, DepthSpace(dict.fromkeys(range(3), RAISES)), executor=InProcess(slots=1), retries=2)
    assert [trial.user_attrs.get("retry_of") for trial in tuner.scheduler.tally.trials()] == [None, 0, 1, None]
    assert (outcome.ended, outcome.progress.failed) == ("done", 3)


def test_a_diverged_training_is_not_retried(drive):
    _, tuner = drive(1, DepthSpace({0: DIVERGES}), executor=InProcess(slots=1), retries=2)
    assert [trial.user_attrs.get("retry_of") for trial in tuner.scheduler.tally.trials()] == [None, None]


def test_trials_out_of_memory_are_retried_with_smaller_micro_batches(drive):
    space = DepthSpace(dict.fromkeys(range(3), STARVES), batch_size=16)
    _, tuner = drive(1, space, executor=InProcess(slots=1), retries=1)
    configs = [TrialConfig.model_validate_json(trial.user_attrs["config"]) for trial in tuner.scheduler.tally.trials()]
    assert [config.micro_batch for config in configs] == [None, 8, 4, 2]
    assert {config.batch_size for config in configs} == {16}
    assert len({config.seed for config in configs}) == 1


def test_micro_batches_below_two_are_not_tried(drive):
    space = DepthSpace(dict.fromkeys(range(2), STARVES), batch_size=4)
    _, tuner = drive(1, space, executor=InProcess(slots=1), retries=9)
    assert [trial.user_attrs.get("micro_batch") for trial in tuner.scheduler.tally.trials()] == [None, 2, None]


def test_a_hung_trial_is_ended_and_retried(drive):
    _, tuner = drive(1, DepthSpace({0: HANGS}), executor=InProcess(slots=1), retries=1, trial_seconds=0.01)
    hung, again = tuner.scheduler.tally.trials()
    assert "longer than 0.01 s" in hung.user_attrs["fail_reason"]
    assert (again.state, again.user_attrs["retry_of"]) == (COMPLETE, 0)


def test_the_tuner_waits_for_space_on_a_full_disk(drive, monkeypatch):
    write, messages = StudyFolder.write_trial, []
    full = iter([True, True])

    def scarce(self, *args, **named):
        if next(full, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, *args, **named)

    monkeypatch.setattr(StudyFolder, "write_trial", scarce)
    monkeypatch.setattr("study.tuner.tuner._DISK_SECONDS", 0.0)
    callback = Callback()
    monkeypatch.setattr(callback, "on_message", messages.append)
    outcome, tuner = drive(2, callback=callback)
    assert (outcome.progress.complete, folders(tuner)) == (2, ["0000", "0001"])
    assert len(messages) == 1
    assert "no space left" in messages[0]


def test_stopping_on_a_full_disk_loses_only_running_trials(drive, monkeypatch):
    def full(self, *args, **named):
        signal.raise_signal(signal.SIGINT)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(StudyFolder, "write_trial", full)
        with pytest.raises(StudyError, match="no space left"):
            drive(2)
    outcome, _ = drive(2)
    assert (outcome.ended, outcome.progress.complete, outcome.progress.running) == ("done", 2, 0)


def test_the_time_limit_requeues_running_trials(drive):
    outcome, tuner = drive(100, seconds=0.05)
    assert outcome.ended == "time"
    progress = tuner.scheduler.tally.progress
    assert progress.running == 0
    assert progress.waiting == progress.interrupted == outcome.requeued


class Signals(Callback):
    """Sends signals to this process after the first epoch, and stores the messages."""

    def __init__(self, *numbers):
        self.numbers, self.messages = list(numbers), []

    def on_epoch(self, job, record):
        while self.numbers:
            signal.raise_signal(self.numbers.pop())

    def on_message(self, line):
        self.messages.append(line)


def test_one_ctrl_c_finishes_running_trials(drive):
    callback = Signals(signal.SIGINT)
    outcome, tuner = drive(6, callback=callback)
    assert (outcome.ended, outcome.progress.complete, outcome.requeued) == ("interrupted", 2, 0)
    assert callback.messages == ["Ctrl-C: 2 running trials finish first; Ctrl-C again stops them"]
    assert len(tuner.scheduler.tally.trials()) == 2


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_after_a_second_ctrl_c_the_study_can_be_resumed(drive, numbers):
    before = [signal.getsignal(number) for number in numbers]
    outcome, tuner = drive(6, callback=Signals(*numbers))
    assert (outcome.ended, outcome.progress.running, outcome.requeued) == ("interrupted", 0, 2)
    assert outcome.progress.waiting == 2
    assert [signal.getsignal(number) for number in numbers] == before
    outcome, tuner = drive(6)
    states = [trial.state for trial in tuner.scheduler.tally.trials()]
    assert (outcome.ended, states.count(COMPLETE)) == ("done", 6)
    assert len(folders(tuner)) == 6


def test_after_an_error_of_the_tuner_the_study_can_be_resumed(drive):
    class Broken(Callback):
        def on_epoch(self, job, record):
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        drive(3, callback=Broken())
    outcome, _ = drive(3)
    assert (outcome.ended, outcome.progress.finished, outcome.progress.running) == ("done", 3, 0)


def test_a_tuner_that_dies_after_writing_files_loses_and_doubles_nothing(drive, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("study.tuner.trial_scheduler.TrialScheduler.finish", lambda *_: sys.exit("killed"))
        patch.setattr("study.tuner.trial_scheduler.TrialScheduler.interrupt", lambda *_: [])
        with pytest.raises(SystemExit):
            drive(2, executor=InProcess(slots=1))
    outcome, tuner = drive(2)
    finished = [f"{t.number:04d}" for t in tuner.scheduler.tally.trials() if t.state == COMPLETE]
    assert outcome.progress.finished == 2
    assert folders(tuner) == finished == ["0001", "0002"]


def test_only_the_best_keep_their_checkpoints(drive):
    _, tuner = drive(8, checkpoints=2)
    kept = {int(path.parent.name) for path in tuner.folder.path.rglob(CHECKPOINT)}
    assert kept == {ranked.number for ranked in tuner.scheduler.tally.ranking[:2]}


def test_stop_when_noise_ends_a_study_early_for_good(drive):
    """All trainings of the fake trainer predict the same: from 60 trials on, further ones add nothing."""
    outcome, _ = drive(100, stop_when_noise=True)
    assert outcome.ended == "noise"
    assert 60 <= outcome.progress.finished < 70
    assert "none of the last 50 trials is distinguishable" in outcome.reason
    assert outcome.progress.running == outcome.progress.waiting == 0
    again, _ = drive(100, stop_when_noise=True)
    assert (again.ended, again.progress.finished) == ("noise", outcome.progress.finished)


def test_without_stop_when_noise_a_study_continues(drive):
    assert drive(70)[0].ended == "done"


def test_progress_has_the_certainty_of_the_best_trial(drive):
    outcome, _ = drive(3)
    certainty = outcome.progress.certainty
    assert (certainty.indistinguishable, certainty.completed) == (3, 3)
    assert 0 <= certainty.low < 0.5 < certainty.high <= 1
    assert drive(3)[0].progress.certainty == certainty  # read back from the folders
