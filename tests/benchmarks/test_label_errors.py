"""Random label errors, out-of-fold predictions, and detection scores."""

from pathlib import Path

import numpy as np
import pytest
from scipy import special

from benchmarks.label_error_scores import notes, rows, score_detection
from benchmarks.label_errors import (
    FoldTrainer,
    LabelSet,
    TrainingJob,
    draw_configs,
    label_sets,
    with_errors,
    with_labels,
)
from drft.config.trial_config import TrialConfig, with_values
from drft.data import ImageDataset, LabeledImage
from tests.helpers.small_images import draw_noise

TRUE = np.repeat(np.arange(5), (50, 10, 45, 25, 20))
IDS = tuple(f"train/{index}" for index in range(len(TRUE)))
TINY = {"backbone.name": "test_resnet", "backbone.weights": "none", "image_size": 32, "split.folds": 2}


@pytest.fixture(scope="module")
def given():
    return with_errors(TRUE, 0.1, 5, np.random.default_rng(0))


def test_errors_have_their_rate_and_change_the_grade(given):
    assert (given != TRUE).sum() == 15
    assert set(given) == set(range(5))
    assert np.array_equal(given, with_errors(TRUE, 0.1, 5, np.random.default_rng(0)))


def test_label_sets_are_the_given_labels_and_official_ones_with_errors(given):
    sets = list(label_sets(given, TRUE, 5, seed=3))

    assert [int(labels.wrong.sum()) for labels in sets] == [15, 8, 15, 30]
    assert np.array_equal(sets[0].grades, given)
    assert all(np.array_equal(labels.wrong, labels.grades != TRUE) for labels in sets)


def predictions(sharpness: float) -> np.ndarray:
    """Return probabilities of six configurations that see the true grades more or less clearly."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, (6, len(TRUE), 5)) + sharpness * np.eye(5)[TRUE]
    return np.asarray(special.softmax(logits, axis=2))


def test_good_predictions_detect_errors_and_averages_detect_more(given):
    score = score_detection("made", IDS, given, given != TRUE, predictions(1.5))

    assert (score.n, score.wrong) == (150, 15)
    assert score.study[0] > 0.9
    assert score.ahead[1] > 0
    assert min(abs(score.best[0] - area) for area in score.single) < 1e-9
    assert score.first[0] > score.first[1]
    assert score.listed is not None
    assert score.listed[0] > score.listed[1] / 2


def test_random_predictions_detect_and_list_nothing(given):
    score = score_detection("made", IDS, given, given != TRUE, predictions(0.0))

    assert score.study[1] < 0.5 < score.study[2]
    assert score.listed is None
    (row,) = rows([score])
    assert row[-1] == "none listed"
    assert "made: the study's score is indistinguishable from the loss" in next(iter(notes([score])))


def test_detection_needs_wrong_and_correct_labels():
    with pytest.raises(RuntimeError, match="one side is empty"):
        score_detection("made", IDS, TRUE, TRUE < 0, predictions(1.5))


def test_configurations_are_shallow_and_differ():
    base = with_values(TrialConfig(), TINY)
    configs = draw_configs(base, 4, 2, seed=0)

    assert all(config.depth <= 2 for config in configs)
    assert {(config.image_size, config.split.folds) for config in configs} == {(32, 2)}
    assert len({config.head_phase.lr for config in configs}) == 4
    assert configs == draw_configs(base, 4, 2, seed=0)


def test_a_fold_is_predicted_by_a_training_on_the_given_labels(tmp_path: Path):
    images = []
    for index in range(24):
        path = tmp_path / f"{index}.png"
        draw_noise(path, index)
        images.append(LabeledImage(f"train/{index}", path, index % 5, "train", f"train/{index}"))
    dataset = ImageDataset("made", tuple(images), "0" * 64)
    epochs = {"head_phase.epochs": 1, "depth_phase.epochs": 1}
    config = with_values(TrialConfig(), {**TINY, **epochs, "depth": 1})
    other = (dataset.labels() + 1) % 5
    labels = [LabelSet("one", dataset.labels(), other < 0), LabelSet("other", other, other < 0)]
    trainer = FoldTrainer(dataset, labels, [config], tmp_path / "cache")

    folds = [trainer.run(TrainingJob(0, 0, fold)) for fold in range(2)]

    assert sorted(id_ for fold in folds for id_ in fold.ids) == sorted(image.id for image in images)
    assert all(fold.probabilities.shape == (12, 5) for fold in folds)
    assert not np.array_equal(trainer.run(TrainingJob(1, 0, 0)).probabilities, folds[0].probabilities)
    assert with_labels(dataset, other).fingerprint == dataset.fingerprint
