"""The benchmark of Ray: it finds differences between two studies, and separates a trial's cost from its training."""

import shutil
from datetime import datetime, timedelta

import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from benchmarks.ray import beyond_training, differences, faults, rows, slot_seconds
from drft.errors import DrftError
from study.callbacks.progress_reporter import PlainProgress
from study.results.study_folder import StudyFolder
from study.tuner.stopping import StoppingCriterion
from study.tuner.tuner import Tuner
from tests.helpers.small_study import InProcess, open_scheduler


@pytest.fixture
def twins(tmp_path):
    """The same four trials twice: their folders and their trials."""
    folders, trials = (tmp_path / "one", tmp_path / "other"), []
    for folder in folders:
        scheduler = open_scheduler(folder)
        StudyFolder(folder).write_study("", {})
        Tuner(
            scheduler, InProcess(), StudyFolder(folder), [PlainProgress(Console(quiet=True))], StoppingCriterion(4)
        ).run()
        trials.append(scheduler.tally.trials())
    return folders, trials


def compare(twins):
    folders, trials = twins
    return list(differences(*folders, *trials))


def test_equal_studies_do_not_differ(twins):
    assert compare(twins) == []


def test_another_record_is_compare(twins):
    trial = twins[1][1][2]
    trial.user_attrs["epochs"] = trial.user_attrs["epochs"].replace(
        '"val_loss": [1.0', '"val_loss": [1.0000000000000002'
    )
    assert compare(twins) == ["trial 2: records differ"]


def test_other_predictions_and_configurations_are_compare(twins):
    (one, _), (_, trials) = twins
    shutil.copy(one / "trials/0000/epochs.csv", one / "trials/0001/predictions.npz")
    trials[3].user_attrs["config"] = "{}"
    assert compare(twins) == ["trial 1: predictions differ", "trial 3: configurations differ"]


def made_trial(worker, start, end, seconds):
    zero = datetime(2026, 1, 1)  # noqa: DTZ001 (Optuna's times have no time zone)
    trial = create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs={"worker": worker, "seconds": seconds})
    trial.datetime_start, trial.datetime_complete = zero + timedelta(seconds=start), zero + timedelta(seconds=end)
    return trial


def test_a_trial_costs_its_time_less_its_training_once_all_workers_are_ready():
    early = [made_trial("a", 0, 9, 1.0), made_trial("a", 9, 18, 1.0), made_trial("b", 0, 20, 1.0)]
    warm = [made_trial("a", 20, 23.25, 3.0), made_trial("b", 21, 23.5, 2.0)]
    assert beyond_training([*early, *warm]) == pytest.approx([0.25, 0.5])
    with pytest.raises(DrftError, match="--trials"):
        beyond_training(early)


def test_a_slot_is_occupied_for_the_time_between_ends_times_the_slots():
    ends = [0.0, 5.0, 9.0, *(10 + 0.1 * trial for trial in range(20))]
    assert slot_seconds(list(reversed(ends)), slots=4) == pytest.approx(0.4)


def result(**changes):
    slots = {"local": 0.01, "ray": 0.02, "tune": 0.9}
    beyond = {"local": [0.1, 0.2, 0.3], "ray": [0.1, 0.2, 0.9]}
    return {"instant_slot_seconds": slots, "beyond_training_seconds": beyond, "differences": [], **changes}


def test_differences_and_expensive_trials_are_faults():
    assert faults(result()) == []
    assert faults(result(differences=["trial 1: records differ"])) == ["trial 1: records differ"]
    assert "0.5 s or more" in faults(result(instant_slot_seconds={"local": 0.01, "ray": 0.5}))[0]
    assert "on Ray" in faults(result(beyond_training_seconds={"local": [0.1], "ray": [0.6]}))[0]


def test_the_table_shows_only_instant_trials_of_ray_tune():
    assert [cells[1:] for cells in rows(result())] == [
        ("200 ms", "300 ms", "10 ms"),
        ("200 ms", "900 ms", "20 ms"),
        ("", "", "900 ms"),
    ]
