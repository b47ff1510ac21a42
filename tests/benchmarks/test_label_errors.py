"""Planting wrong labels, grading out of fold, and measuring how well they are found."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import special

from benchmarks.label_error_scores import measured, notes, rows
from benchmarks.label_errors import Grader, LabelSet, TrainingJob, all_labels, draw, labelled, with_errors
from drft.config.trial_config import TrialConfig, with_values
from drft.data import ImageDataset, LabeledImage

TRUE = np.repeat(np.arange(5), (50, 10, 45, 25, 20))
TINY = {"backbone.name": "test_resnet", "backbone.weights": "none", "image_size": 32, "split.folds": 2}


@pytest.fixture(scope="module")
def given():
    return with_errors(TRUE, 0.1, 5, np.random.default_rng(0))


def test_errors_are_planted_at_their_rate_and_are_errors(given):
    assert (given != TRUE).sum() == 15
    assert set(given) == set(range(5))
    assert np.array_equal(given, with_errors(TRUE, 0.1, 5, np.random.default_rng(0)))


def test_labels_are_those_given_and_official_ones_with_errors(given):
    found = list(all_labels(given, TRUE, 5, seed=3))

    assert [int(one.wrong.sum()) for one in found] == [15, 8, 15, 30]
    assert np.array_equal(found[0].grades, given)
    assert all(np.array_equal(one.wrong, one.grades != TRUE) for one in found)


def said(sharpness: float, grades: np.ndarray, configurations: int = 6) -> np.ndarray:
    """Return probabilities of configurations that see the true grades, more or less."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, (configurations, len(TRUE), 5)) + sharpness * np.eye(5)[grades]
    return np.asarray(special.softmax(logits, axis=2))


def ids() -> tuple[str, ...]:
    return tuple(f"train/{n}" for n in range(len(TRUE)))


def test_those_who_know_the_truth_find_the_errors_and_many_find_more(given):
    found = measured("made", ids(), given, given != TRUE, said(1.5, TRUE))

    assert (found.n, found.wrong) == (150, 15)
    assert found.study[0] > 0.9
    assert found.ahead[1] > 0
    assert min(abs(found.best[0] - area) for area in found.single) < 1e-9
    assert found.first[0] > found.first[1]
    assert found.listed is not None
    assert found.listed[0] > found.listed[1] / 2


def test_those_who_know_nothing_find_nothing_and_list_nothing(given):
    found = measured("made", ids(), given, given != TRUE, said(0.0, TRUE))

    assert found.study[1] < 0.5 < found.study[2]
    assert found.listed is None
    (row,) = rows([found])
    assert row[-1] == "none listed"
    assert "made: the study's score cannot be told from the loss" in next(iter(notes([found])))


def test_configurations_are_drawn_shallow_and_differ():
    base = with_values(TrialConfig(), TINY)
    drawn = draw(base, 4, 2, seed=0)

    assert all(config.depth <= 2 for config in drawn)
    assert {(config.image_size, config.split.folds) for config in drawn} == {(32, 2)}
    assert len({config.head_phase.lr for config in drawn}) == 4
    assert drawn == draw(base, 4, 2, seed=0)


@pytest.fixture
def one_thread():
    """Such small trainings lose by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_fold_is_graded_by_a_training_on_the_given_labels(tmp_path: Path, one_thread):
    images = []
    for n in range(24):
        path = tmp_path / f"{n}.png"
        Image.fromarray(np.random.default_rng(n).integers(0, 255, (40, 40, 3), np.uint8)).save(path)
        images.append(LabeledImage(f"train/{n}", path, n % 5, "train", f"train/{n}"))
    dataset = ImageDataset("made", tuple(images), "0" * 64)
    epochs = {"head_phase.epochs": 1, "depth_phase.epochs": 1}
    config = with_values(TrialConfig(), {**TINY, **epochs, "depth": 1})
    other = (dataset.labels() + 1) % 5
    labels = [LabelSet("one", dataset.labels(), other < 0), LabelSet("other", other, other < 0)]
    grader = Grader(dataset, labels, [config], tmp_path / "cache")

    graded = [grader.grade(TrainingJob(0, 0, fold)) for fold in range(2)]

    assert sorted(id_ for one in graded for id_ in one.ids) == sorted(one.id for one in images)
    assert all(one.probabilities.shape == (12, 5) for one in graded)
    assert not np.array_equal(grader.grade(TrainingJob(1, 0, 0)).probabilities, graded[0].probabilities)
    assert labelled(dataset, other).fingerprint == dataset.fingerprint
