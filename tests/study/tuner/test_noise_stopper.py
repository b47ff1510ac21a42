"""The certainty of the best trial of a running study."""

import numpy as np

from drft.training.records import Predictions, TrialResult
from study.results.study_folder import StudyFolder
from study.tuner.noise_stopper import NoiseStopper
from tests.helpers.fake_training import fake_record, fake_result, scripted

GRADES = np.arange(40) % 5
IDS = tuple(f"train/{index}" for index in range(40))


def result(right: int, ids=IDS, ending="completed") -> TrialResult:
    """A training that gets the first ``right`` of forty images right at its best step, which is the third."""
    config = scripted()
    made = fake_result(config, [fake_record(config, step) for step in range(1, 6)], ending)
    guessed = np.where(np.arange(40) < right, GRADES, (GRADES + 1) % 5)
    probabilities = np.zeros((5, 40, 5), np.float16)
    probabilities[2, np.arange(40), guessed] = 1
    made.predictions["validation"] = Predictions(ids, GRADES, probabilities)
    return made


def test_there_is_no_certainty_before_a_trial_finished():
    assert NoiseStopper().certainty() is None
    assert NoiseStopper().reason_to_stop() is None


def test_the_best_has_an_interval_and_clearly_worse_trials_are_distinguished():
    stopper = NoiseStopper()
    for number, right in enumerate((30, 31, 2)):
        stopper.add(number, result(right))
    certainty = stopper.certainty()
    assert certainty.low < 31 / 40 < certainty.high
    assert (certainty.indistinguishable, certainty.completed) == (2, 3)


def test_pruned_trials_are_not_compared():
    stopper = NoiseStopper()
    stopper.add(0, result(30, ending="pruned"))
    assert stopper.certainty() is None


def test_trials_on_different_images_are_not_compared():
    stopper = NoiseStopper()
    stopper.add(0, result(30))
    stopper.add(1, result(30, ids=tuple(f"train/{index + 7}" for index in range(40))))
    assert stopper.certainty() is None
    assert stopper.reason_to_stop() is None


def test_trials_of_earlier_runs_are_read_from_their_folders(tmp_path):
    folder, stopper = StudyFolder(tmp_path), NoiseStopper()
    folder.write_study("", {})
    for number, right in enumerate((30, 10)):
        folder.write_trial(number, result(right), checkpoint=False)
        stopper.add(number, result(right))
    resumed = NoiseStopper()
    resumed.read_earlier({0: 3, 1: 3, 2: 3}, folder.trials)  # the folder of the last one is missing
    assert resumed.certainty() == stopper.certainty()
    assert resumed.certainty().completed == 2
