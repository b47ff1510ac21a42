"""Names of version 0.1 still work; they stay for one release."""

import drft
from drft.data.dataset import ImageDataset, LabeledImage
from study.results.progress import StudyProgress
from study.tuner.stopping import RunOutcome


def test_renamed_functions_and_classes_are_found_by_their_old_names():
    assert drft.Cohort is drft.ImageDataset is ImageDataset
    assert drft.open_cohort is drft.open_dataset
    assert drft.grade_photographs is drft.predict_images


def test_renamed_attributes_are_found_by_their_old_names(tmp_path):
    images = (LabeledImage("train/a", tmp_path / "a.png", 0, "train", "a"),)
    assert ImageDataset("one", images, "ab").photographs == images
    progress = StudyProgress(complete=3)
    assert RunOutcome("done", progress, 1.0).standing is progress
