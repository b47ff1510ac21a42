"""The chaos run: its audit finds planted faults, and the study of a short run is consistent."""

import io
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.study_audit import audit
from study.callbacks.progress_reporter import PlainProgress
from study.results.study_folder import StudyFolder
from study.tuner.retry import copied_attributes
from study.tuner.stopping import StoppingCriterion
from study.tuner.tuner import Tuner
from tests.helpers import ROOT
from tests.helpers.small_study import InProcess, open_scheduler


@pytest.fixture
def study(tmp_path):
    """A study with four finished trials: its scheduler and its folder."""
    folder, scheduler = StudyFolder(tmp_path), open_scheduler(tmp_path)
    folder.write_study("", {})
    Tuner(scheduler, InProcess(), folder, [PlainProgress(Console(quiet=True))], StoppingCriterion(4)).run()
    return scheduler, tmp_path


def faults(study, wanted=4):
    scheduler, folder = study
    return audit(scheduler.tally.trials(), folder, wanted, None, replays=0).faults


def test_a_consistent_study_has_no_faults(study):
    assert faults(study) == []


def change_a_loss(scheduler, trials):
    path = trials / "0001" / "epochs.csv"
    path.write_text(re.sub(r",1\.0,", ",1.5,", path.read_text()))


def repeat_twice(scheduler, trials):
    trial = scheduler.tally.trials()[1]
    for _ in range(2):  # past the scheduler, which would refuse
        scheduler._study.enqueue_trial(trial.params, user_attrs=copied_attributes(trial.number, trial.user_attrs))


PLANTED = {
    "a lost file": (lambda _, trials: (trials / "0002" / "predictions.npz").unlink(), "trial 2 lacks predictions.npz"),
    "a lost folder": (lambda _, trials: shutil.rmtree(trials / "0000"), "trial 0 lacks"),
    "another loss in a file": (change_a_loss, "trial 1: epochs.csv differs"),
    "predictions of another trial": (
        lambda _, trials: (trials / "0003" / "predictions.npz").write_bytes(other_predictions()),
        "trial 3: predictions.npz and the record have different epochs",
    ),
    "a trial left running": (lambda scheduler, _: scheduler.ask(), "1 trials are left running"),
    "files of a running trial": (
        lambda scheduler, trials: shutil.copytree(trials / "0001", trials / f"{scheduler.ask().number:04d}"),
        "did not finish and has files",
    ),
    "a folder of no trial": (lambda _, trials: (trials / "0099").mkdir(), "folder 0099 belongs to no trial"),
    "a finished trial queued again": (repeat_twice, "is COMPLETE and was queued again"),
    "a trial queued twice": (repeat_twice, "queued again 2 times"),
}


def other_predictions():
    packed, few = io.BytesIO(), np.zeros((1, 2, 5), np.float16)
    np.savez(packed, train_probabilities=few, validation_probabilities=few)
    return packed.getvalue()


@pytest.mark.parametrize("plant", PLANTED)
def test_planted_faults_are_found(study, plant):
    change, message = PLANTED[plant]
    change(study[0], study[1] / "trials")
    assert any(message in fault for fault in faults(study)), faults(study)


def test_a_missing_trial_is_found(study):
    assert faults(study, wanted=5) == ["4 trials finished, 5 were wanted"]
    assert {trial.state for trial in study[0].tally.trials()} == {TrialState.COMPLETE}


@pytest.mark.timeout(600)
def test_a_study_is_consistent_after_a_short_chaos_run(tmp_path):
    command = [sys.executable, "-m", "benchmarks.chaos", "--trials", "8", "--kills", "3", "--out", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "The study is consistent" in ran.stdout
    assert (tmp_path / "chaos-local-sqlite.json").exists()
