"""The driver: to the goal and not beyond, whatever trials, users and clocks do."""

import errno
import signal
import sys

import optuna
import pytest
from rich.console import Console

from drft.config.trial_config import TrialConfig
from drft.errors import StudyError
from study.callbacks.progress_reporter import PlainProgress
from study.results.study_folder import CHECKPOINT, StudyFolder
from study.tuner.stopping import StoppingCriterion
from study.tuner.tuner import FEW_FAILURES, Tuner
from tests.helpers.fake_training import DIVERGES, HANGS, RAISES, STARVES
from tests.helpers.small_study import DepthSpace, InProcess, Refuses, open_scheduler

COMPLETE, PRUNED, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL


@pytest.fixture
def drive(tmp_path):
    def drive(trials=4, space=None, pruner=None, executor=None, display=None, retries=0, **goal):
        folder = StudyFolder(tmp_path)
        folder.write_study("", {})
        driver = Tuner(
            scheduler=open_scheduler(tmp_path, space, pruner, retries=retries),
            executor=executor or InProcess(),
            folder=folder,
            display=display or PlainProgress(Console(quiet=True)),
            goal=StoppingCriterion(trials, **goal),
        )
        return driver.run(), driver

    return drive


def folders(driver):
    return sorted(path.name for path in (driver.folder.path / "trials").iterdir())


def test_a_study_comes_to_its_goal_with_a_folder_for_each_trial(drive):
    outcome, driver = drive(4)
    assert (outcome.ended, outcome.progress.complete, outcome.requeued) == ("done", 4, 0)
    assert folders(driver) == ["0000", "0001", "0002", "0003"]


def test_pruned_trials_count_and_have_folders(drive):
    outcome, driver = drive(4, pruner=Refuses())
    assert outcome.progress.finished == 4
    assert outcome.progress.pruned >= 3
    assert len(folders(driver)) == 4


def test_running_again_adds_only_what_is_missing(drive):
    drive(3)
    outcome, driver = drive(5)
    assert (outcome.progress.finished, len(driver.scheduler.trials())) == (5, 5)
    outcome, driver = drive(5)
    assert (outcome.ended, len(driver.scheduler.trials())) == ("done", 5)


def test_slots_are_used_but_never_for_more_than_is_wanted(drive):
    executor = InProcess(slots=8)
    _, driver = drive(3, executor=executor)
    assert executor.most_at_once == 3
    assert len(driver.scheduler.trials()) == 3


def test_failed_trials_are_replaced_and_leave_their_traceback(drive):
    outcome, driver = drive(3, DepthSpace({1: RAISES}))
    assert (outcome.ended, outcome.progress.complete, outcome.progress.failed) == ("done", 3, 1)
    assert driver.scheduler.trials()[1].user_attrs["fail_reason"] == "trouble 1"
    assert "Traceback: here" in (driver.folder.trial(1) / "failure.txt").read_text()


def test_a_trial_that_diverges_fails_with_the_step(drive):
    _, driver = drive(2, DepthSpace({0: DIVERGES}))
    trial = driver.scheduler.trials()[0]
    assert (trial.state, trial.value) == (FAIL, None)
    assert trial.user_attrs["fail_reason"] == "validation accuracy became nan at step 2"


def test_a_study_in_which_everything_fails_stops_and_says_why(drive):
    outcome, driver = drive(100, DepthSpace(dict.fromkeys(range(200), RAISES)), executor=InProcess(slots=1))
    assert (outcome.ended, outcome.reason, outcome.progress.failed) == ("failing", "trouble 1", FEW_FAILURES)
    assert len(driver.scheduler.trials()) == FEW_FAILURES


@pytest.mark.parametrize(("limit", "ended"), [(0.5, "failing"), (0.8, "done")])
def test_a_failing_fraction_above_the_limit_stops_a_study(drive, limit, ended):
    troubles = {number: RAISES for number in range(20) if number % 3}
    outcome, _ = drive(6, DepthSpace(troubles), executor=InProcess(slots=1), failure_limit=limit)
    assert (outcome.ended, outcome.progress.failed) == (ended, 10 if ended == "done" else FEW_FAILURES)


def test_few_failures_stop_no_study(drive):
    outcome, _ = drive(1, DepthSpace(dict.fromkeys(range(FEW_FAILURES - 1), RAISES)), executor=InProcess(slots=1))
    assert (outcome.ended, outcome.progress.failed) == ("done", FEW_FAILURES - 1)


def test_a_failed_trial_is_tried_again_with_the_same_configuration(drive):
    outcome, driver = drive(2, DepthSpace({0: RAISES}), executor=InProcess(slots=1), retries=2)
    first, second, third = driver.scheduler.trials()
    assert (first.state, second.state, outcome.progress.failed) == (FAIL, COMPLETE, 1)
    assert (second.params, second.user_attrs["retry_of"]) == (first.params, 0)
    assert second.user_attrs["seed"] == first.user_attrs["seed"]
    assert "retry_of" not in third.user_attrs


def test_tries_come_to_an_end(drive):
    outcome, driver = drive(1, DepthSpace(dict.fromkeys(range(3), RAISES)), executor=InProcess(slots=1), retries=2)
    assert [trial.user_attrs.get("retry_of") for trial in driver.scheduler.trials()] == [None, 0, 1, None]
    assert (outcome.ended, outcome.progress.failed) == ("done", 3)


def test_a_training_that_diverges_is_not_tried_again(drive):
    _, driver = drive(1, DepthSpace({0: DIVERGES}), executor=InProcess(slots=1), retries=2)
    assert [trial.user_attrs.get("retry_of") for trial in driver.scheduler.trials()] == [None, None]


def test_what_lacks_memory_is_tried_with_ever_smaller_micro_batches(drive):
    space = DepthSpace(dict.fromkeys(range(3), STARVES), batch_size=16)
    _, driver = drive(1, space, executor=InProcess(slots=1), retries=1)
    configs = [TrialConfig.model_validate_json(trial.user_attrs["config"]) for trial in driver.scheduler.trials()]
    assert [config.micro_batch for config in configs] == [None, 8, 4, 2]
    assert {config.batch_size for config in configs} == {16}
    assert len({config.seed for config in configs}) == 1


def test_what_hardly_fits_at_all_is_given_up(drive):
    space = DepthSpace(dict.fromkeys(range(2), STARVES), batch_size=4)
    _, driver = drive(1, space, executor=InProcess(slots=1), retries=9)
    assert [trial.user_attrs.get("micro_batch") for trial in driver.scheduler.trials()] == [None, 2, None]


def test_a_trial_that_hangs_is_ended_and_tried_again(drive):
    _, driver = drive(1, DepthSpace({0: HANGS}), executor=InProcess(slots=1), retries=1, trial_seconds=0.01)
    hung, again = driver.scheduler.trials()
    assert "longer than 0.01 s" in hung.user_attrs["fail_reason"]
    assert (again.state, again.user_attrs["retry_of"]) == (COMPLETE, 0)


def test_a_full_disk_is_waited_for_and_nothing_is_lost(drive, monkeypatch):
    write, said = StudyFolder.write_trial, []
    full = iter([True, True])

    def scarce(self, *args, **named):
        if next(full, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, *args, **named)

    monkeypatch.setattr(StudyFolder, "write_trial", scarce)
    monkeypatch.setattr("study.tuner.tuner._DISK_SECONDS", 0.0)
    display = PlainProgress(Console(quiet=True))
    monkeypatch.setattr(display, "notice", said.append)
    outcome, driver = drive(2, display=display)
    assert (outcome.progress.complete, folders(driver)) == (2, ["0000", "0001"])
    assert len(said) == 1
    assert "no space left" in said[0]


def test_a_user_who_frees_no_space_loses_only_what_was_under_way(drive, monkeypatch):
    def full(self, *args, **named):
        signal.raise_signal(signal.SIGINT)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(StudyFolder, "write_trial", full)
        with pytest.raises(StudyError, match="no space left"):
            drive(2)
    outcome, _ = drive(2)
    assert (outcome.ended, outcome.progress.complete, outcome.progress.running) == ("done", 2, 0)


def test_when_time_is_up_running_trials_are_queued_again(drive):
    outcome, driver = drive(100, seconds=0.05)
    assert outcome.ended == "time"
    progress = driver.scheduler.progress
    assert progress.running == 0
    assert progress.waiting == progress.interrupted == outcome.requeued


class Signals(PlainProgress):
    """Sends this process signals after its first epoch, and remembers what is said."""

    def __init__(self, *numbers):
        super().__init__(Console(quiet=True))
        self.numbers, self.said = list(numbers), []

    def epoch(self, job, record):
        while self.numbers:
            signal.raise_signal(self.numbers.pop())

    def notice(self, line):
        self.said.append(line)


def test_one_ctrl_c_lets_finish_what_runs(drive):
    display = Signals(signal.SIGINT)
    outcome, driver = drive(6, display=display)
    assert (outcome.ended, outcome.progress.complete, outcome.requeued) == ("interrupted", 2, 0)
    assert [line for line in display.said if "finished first (2)" in line] == display.said
    assert len(driver.scheduler.trials()) == 2


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_a_second_ctrl_c_leaves_a_study_that_goes_on(drive, numbers):
    before = [signal.getsignal(number) for number in numbers]
    outcome, driver = drive(6, display=Signals(*numbers))
    assert (outcome.ended, outcome.progress.running, outcome.requeued) == ("interrupted", 0, 2)
    assert outcome.progress.waiting == 2
    assert [signal.getsignal(number) for number in numbers] == before
    outcome, driver = drive(6)
    states = [trial.state for trial in driver.scheduler.trials()]
    assert (outcome.ended, states.count(COMPLETE)) == ("done", 6)
    assert len(folders(driver)) == 6


def test_a_fault_of_the_driver_leaves_a_study_that_goes_on(drive):
    class Broken(PlainProgress):
        def epoch(self, job, record):
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        drive(3, display=Broken(Console(quiet=True)))
    outcome, _ = drive(3)
    assert (outcome.ended, outcome.progress.finished, outcome.progress.running) == ("done", 3, 0)


def test_a_driver_that_dies_between_files_and_study_loses_and_doubles_nothing(drive, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("study.tuner.trial_scheduler.TrialScheduler.finish", lambda *_: sys.exit("killed"))
        patch.setattr("study.tuner.trial_scheduler.TrialScheduler.interrupt", lambda *_: [])
        with pytest.raises(SystemExit):
            drive(2, executor=InProcess(slots=1))
    outcome, driver = drive(2)
    finished = [f"{t.number:04d}" for t in driver.scheduler.trials() if t.state == COMPLETE]
    assert outcome.progress.finished == 2
    assert folders(driver) == finished == ["0001", "0002"]


def test_only_the_best_keep_their_checkpoints(drive):
    _, driver = drive(8, checkpoints=2)
    kept = {int(path.parent.name) for path in driver.folder.path.rglob(CHECKPOINT)}
    assert kept == {ranked.number for ranked in driver.scheduler.ranking[:2]}


def test_a_study_in_which_only_noise_is_left_ends_early_and_stays_ended(drive):
    """All trainings of the fake trainer predict the same: from 60 trials on, more cannot tell anything."""
    outcome, _ = drive(100, stop_when_noise=True)
    assert outcome.ended == "noise"
    assert 60 <= outcome.progress.finished < 70
    assert "the last 50 trials brought nothing" in outcome.reason
    assert outcome.progress.running == outcome.progress.waiting == 0
    again, _ = drive(100, stop_when_noise=True)
    assert (again.ended, again.progress.finished) == ("noise", outcome.progress.finished)


def test_without_the_rule_a_study_goes_on_through_noise(drive):
    assert drive(70)[0].ended == "done"


def test_the_standing_says_how_sure_the_best_is(drive):
    outcome, _ = drive(3)
    certainty = outcome.progress.certainty
    assert (certainty.indistinguishable, certainty.completed) == (3, 3)
    assert 0 <= certainty.low < 0.5 < certainty.high <= 1
    assert drive(3)[0].progress.certainty == certainty  # read back from the folders
