"""The folder of a study: whole files, test predictions under keys of their own, checkpoints of the best only."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from drft.config.trial_config import parse_config
from drft.errors import StudyError
from drft.files.atomic import whole_folder
from study.results.study_folder import CHECKPOINT, EPOCH_COLUMNS, StudyFolder
from tests.helpers.fake_training import fake_record, fake_result, scripted


def result(**values):
    config = scripted(**values)
    return fake_result(config, [fake_record(config, step) for step in range(1, 6)], "completed")


@pytest.fixture
def folder(tmp_path):
    folder = StudyFolder(tmp_path / "demo")
    folder.write_study("# why\nsearch: {}\n", {"versions": {"python": "3"}, "seed": 0})
    return folder


def test_the_search_space_is_written_as_given(folder):
    assert (folder.path / "space.yaml").read_text() == "# why\nsearch: {}\n"
    assert yaml.safe_load((folder.path / "study.yaml").read_text()) == {"versions": {"python": "3"}, "seed": 0}


def test_a_trial_has_configuration_epochs_predictions_and_checkpoint(folder):
    outcome = result()
    folder.write_trial(42, outcome, checkpoint=True)
    path = folder.path / "trials" / "0042"
    names = {"config.yaml", "epochs.csv", "predictions.npz", "best.safetensors"}
    assert {file.name for file in path.iterdir()} == names
    assert parse_config(yaml.safe_load((path / "config.yaml").read_text())) == outcome.config
    epochs = pd.read_csv(path / "epochs.csv", float_precision="round_trip")
    assert tuple(epochs.columns) == EPOCH_COLUMNS
    assert list(epochs["step"]) == [1, 2, 3, 4, 5]
    assert list(epochs["val_accuracy"]) == [record.val_accuracy for record in outcome.records]


def test_predictions_are_read_without_pickle_and_the_test_part_has_keys_of_its_own(folder):
    outcome = result()
    folder.write_trial(0, outcome, checkpoint=False)
    with np.load(folder.trial(0) / "predictions.npz", allow_pickle=False) as stored:
        assert set(stored) == {
            f"{part}_{array}"
            for part in ("train", "validation", "sealed_test")
            for array in ("ids", "grades", "probabilities")
        }
        assert stored["validation_probabilities"].shape == (5, 2, 5)
        assert stored["validation_probabilities"].dtype == np.float16
        assert list(stored["sealed_test_ids"]) == list(outcome.predictions["test"].ids)


def test_checkpoints_of_all_but_the_best_trials_are_removed(folder):
    for number in range(3):
        folder.write_trial(number, result(), checkpoint=True)
    folder.keep_checkpoints([1])
    assert [path.parent.name for path in sorted(folder.path.rglob(CHECKPOINT))] == ["0001"]
    assert (folder.trial(0) / "predictions.npz").exists()


def test_checkpoints_of_earlier_runs_are_removed_only_after_they_are_found(folder):
    folder.write_trial(0, result(), checkpoint=True)
    again = StudyFolder(folder.path)
    again.write_trial(1, result(), checkpoint=True)
    again.keep_checkpoints([1])
    assert (folder.trial(0) / CHECKPOINT).exists()
    again.find_checkpoints()
    again.keep_checkpoints([1])
    assert [path.parent.name for path in folder.path.rglob(CHECKPOINT)] == ["0001"]


def test_a_trial_written_again_replaces_the_old_one(folder):
    folder.write_failure(3, scripted(), "it broke", "Traceback")
    folder.write_trial(3, result(), checkpoint=False)
    assert not (folder.trial(3) / "failure.txt").exists()


def test_a_failure_has_configuration_reason_and_traceback(folder):
    folder.write_failure(3, scripted(), "it broke", "Traceback: there")
    assert (folder.trial(3) / "failure.txt").read_text() == "it broke\n\nTraceback: there\n"
    assert (folder.trial(3) / "config.yaml").exists()


def test_a_trial_that_cannot_be_written_leaves_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("study.results.study_folder._predictions_npz", full)
    with pytest.raises(OSError, match="disk full"):
        folder.write_trial(0, result(), checkpoint=False)
    assert list((folder.path / "trials").iterdir()) == []


def test_half_written_folders_of_a_crash_are_removed(folder):
    abandoned, in_use = (folder.path / "trials" / name for name in (".0007-abcd_123", ".0008-abcd_123"))
    abandoned.mkdir()
    in_use.mkdir()
    os.utime(abandoned, (1_500_000_000, 1_500_000_000))
    folder.write_study("", {})
    assert list((folder.path / "trials").iterdir()) == [in_use]


def test_a_half_written_folder_is_recognized_by_the_name_it_is_given(folder):
    with whole_folder(folder.trial(12345)) as draft:
        os.utime(draft, (1_500_000_000, 1_500_000_000))
        folder.write_study("", {})
        assert not draft.exists()
        draft.mkdir()


def test_hidden_files_and_folders_of_the_user_stay(folder):
    file, own, similar, target = (folder.trials / name for name in (".DS_Store", ".git", ".0001-old", "target"))
    link = folder.trials / ".0001-abcd_123"
    file.write_bytes(b"")
    for path in (own, similar, target):
        path.mkdir()
    link.symlink_to(target, target_is_directory=True)
    for path in (file, own, similar, target):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    folder.write_study("", {})
    assert set(folder.trials.iterdir()) == {file, own, similar, target, link}


def test_a_file_in_place_of_the_folder_of_the_trials_is_one_line(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "trials").write_text("")
    with pytest.raises(StudyError, match=r"demo/trials is not a folder, .*: move it away and run") as caught:
        StudyFolder(tmp_path / "demo").write_study("", {})
    assert len(str(caught.value).splitlines()) == 1


def test_the_checkpoint_of_a_copied_trial_is_left_alone(folder):
    folder.write_trial(0, result(), checkpoint=True)
    shutil.copytree(folder.trial(0), folder.trials / "0000-backup")
    again = StudyFolder(folder.path)
    again.find_checkpoints()
    again.keep_checkpoints([])
    assert [path.parent.name for path in folder.path.rglob(CHECKPOINT)] == ["0000-backup"]


def test_folders_of_dropped_trials_are_removed(folder):
    folder.write_trial(0, result(), checkpoint=False)
    folder.drop_trials([0, 5])
    assert list((folder.path / "trials").iterdir()) == []
