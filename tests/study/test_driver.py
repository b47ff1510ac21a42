"""The driver: to the goal and not beyond, whatever trials, users and clocks do."""

import signal
import sys
from pathlib import Path

import optuna
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))

from fake_training import DIVERGES, RAISES
from sweep_parts import DepthSpace, InProcess, Refuses, conduct

from study.driver import FAILURES_IN_A_ROW, Driver, Goal
from study.folder import CHECKPOINT, StudyFolder
from study.progress import PlainDisplay

COMPLETE, PRUNED, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL


@pytest.fixture
def drive(tmp_path):
    def drive(trials=4, space=None, pruner=None, executor=None, display=None, **goal):
        folder = StudyFolder(tmp_path)
        folder.write_study("", {})
        driver = Driver(
            conductor=conduct(tmp_path, space, pruner),
            executor=executor or InProcess(),
            folder=folder,
            display=display or PlainDisplay(Console(quiet=True)),
            goal=Goal(trials, **goal),
        )
        return driver.run(), driver

    return drive


def folders(driver):
    return sorted(path.name for path in (driver.folder.path / "trials").iterdir())


def test_a_study_comes_to_its_goal_with_a_folder_for_each_trial(drive):
    outcome, driver = drive(4)
    assert (outcome.ended, outcome.standing.complete, outcome.requeued) == ("done", 4, 0)
    assert folders(driver) == ["0000", "0001", "0002", "0003"]


def test_pruned_trials_count_and_have_folders(drive):
    outcome, driver = drive(4, pruner=Refuses())
    assert outcome.standing.finished == 4
    assert outcome.standing.pruned >= 3
    assert len(folders(driver)) == 4


def test_running_again_adds_only_what_is_missing(drive):
    drive(3)
    outcome, driver = drive(5)
    assert (outcome.standing.finished, len(driver.conductor.trials())) == (5, 5)
    outcome, driver = drive(5)
    assert (outcome.ended, len(driver.conductor.trials())) == ("done", 5)


def test_slots_are_used_but_never_for_more_than_is_wanted(drive):
    executor = InProcess(slots=8)
    _, driver = drive(3, executor=executor)
    assert executor.most_at_once == 3
    assert len(driver.conductor.trials()) == 3


def test_failed_trials_are_replaced_and_leave_their_traceback(drive):
    outcome, driver = drive(3, DepthSpace({1: RAISES}))
    assert (outcome.ended, outcome.standing.complete, outcome.standing.failed) == ("done", 3, 1)
    assert driver.conductor.trials()[1].user_attrs["fail_reason"] == "trouble 1"
    assert "Traceback: here" in (driver.folder.trial(1) / "failure.txt").read_text()


def test_a_trial_that_diverges_fails_with_the_step(drive):
    _, driver = drive(2, DepthSpace({0: DIVERGES}))
    trial = driver.conductor.trials()[0]
    assert (trial.state, trial.value) == (FAIL, None)
    assert trial.user_attrs["fail_reason"] == "validation accuracy became nan at step 2"


def test_a_study_in_which_everything_fails_stops_and_says_why(drive):
    outcome, driver = drive(100, DepthSpace(dict.fromkeys(range(200), RAISES)), executor=InProcess(slots=1))
    assert (outcome.ended, outcome.reason, outcome.standing.failed) == ("failing", "trouble 1", FAILURES_IN_A_ROW)
    assert len(driver.conductor.trials()) == FAILURES_IN_A_ROW


def test_failures_with_successes_between_them_do_not_stop_a_study(drive):
    troubles = {number: RAISES for number in range(20) if number % 3}
    outcome, _ = drive(6, DepthSpace(troubles), executor=InProcess(slots=1))
    assert (outcome.ended, outcome.standing.failed) == ("done", 10)


def test_when_time_is_up_running_trials_are_queued_again(drive):
    outcome, driver = drive(100, seconds=0.05)
    assert outcome.ended == "time"
    standing = driver.conductor.standing
    assert standing.running == 0
    assert standing.waiting == standing.interrupted == outcome.requeued


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_study_that_goes_on(drive, number):
    class CtrlC(PlainDisplay):
        def ended(self, job, outcome, standing):
            if standing.finished == 2:
                signal.raise_signal(number)

    before = signal.getsignal(number)
    outcome, driver = drive(6, display=CtrlC(Console(quiet=True)))
    assert (outcome.ended, outcome.standing.running, outcome.requeued) == ("interrupted", 0, outcome.standing.waiting)
    assert signal.getsignal(number) == before
    outcome, driver = drive(6)
    states = [trial.state for trial in driver.conductor.trials()]
    assert (outcome.ended, states.count(COMPLETE)) == ("done", 6)
    assert len(folders(driver)) == 6


def test_a_fault_of_the_driver_leaves_a_study_that_goes_on(drive):
    class Broken(PlainDisplay):
        def epoch(self, job, record):
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        drive(3, display=Broken(Console(quiet=True)))
    outcome, _ = drive(3)
    assert (outcome.ended, outcome.standing.finished, outcome.standing.running) == ("done", 3, 0)


def test_a_driver_that_dies_between_files_and_study_loses_and_doubles_nothing(drive, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("study.conductor.Conductor.finish", lambda *_: sys.exit("killed"))
        patch.setattr("study.conductor.Conductor.interrupt", lambda *_: [])
        with pytest.raises(SystemExit):
            drive(2, executor=InProcess(slots=1))
    outcome, driver = drive(2)
    finished = [f"{t.number:04d}" for t in driver.conductor.trials() if t.state == COMPLETE]
    assert outcome.standing.finished == 2
    assert folders(driver) == finished == ["0001", "0002"]


def test_only_the_best_keep_their_checkpoints(drive):
    _, driver = drive(8, checkpoints=2)
    kept = {int(path.parent.name) for path in driver.folder.path.rglob(CHECKPOINT)}
    assert kept == {ranked.number for ranked in driver.conductor.ranking[:2]}
