"""The floor is predicted out of fold: by a model whose fit, scaling and penalty never saw the image or its group."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.data import open_dataset, stratified_folds
from drft.errors import BackboneError, DataError, TrainingError
from drft.training import linear_floor
from drft.training.linear_floor import FOLDS, predict_floor, predict_out_of_fold, predict_test_images
from drft.training.session import TrainingSession

CONFIG = parse_config({"image_size": 32, "precision": "fp32", "backbone": {"name": "test_resnet", "weights": "none"}})


@pytest.fixture(scope="module")
def session(tiny_dataset):
    return TrainingSession(tiny_dataset, device="cpu", cache_size=0)


@pytest.fixture(scope="module")
def floor(session):
    return predict_floor(CONFIG, session)


def test_every_training_image_and_no_test_image_is_predicted_once(floor, tiny_dataset):
    train = [image for image in tiny_dataset.images if image.origin == "train"]
    assert floor.ids == tuple(image.id for image in train)
    assert floor.grades.tolist() == [image.grade for image in train]
    assert floor.scores.shape == (len(train), 5)
    assert len(floor.penalties) == FOLDS
    for number, members in enumerate(stratified_folds(tiny_dataset, FOLDS, CONFIG.split.seed)):
        assert np.flatnonzero(floor.fold == number).tolist() == members.tolist()


def test_the_split_of_the_training_images_does_not_matter(floor, session):
    for values in ({"split.validation_fraction": 0.4}, {"split.folds": 3, "split.fold": None}):
        again = predict_floor(with_values(CONFIG, values), session)
        assert again.ids == floor.ids
        assert again.scores == pytest.approx(floor.scores, abs=1e-3)


def test_equal_inputs_give_equal_predictions(floor, tiny_dataset):
    again = predict_floor(CONFIG, TrainingSession(tiny_dataset, device="cpu", cache_size=0))
    assert np.array_equal(again.scores, floor.scores)
    assert again.penalties == floor.penalties


def test_a_cache_does_not_change_predictions(floor, tiny_dataset, tmp_path):
    for _ in range(2):
        session = TrainingSession(tiny_dataset, device="cpu", cache_dir=tmp_path, cache_size=2**26)
        assert np.array_equal(predict_floor(CONFIG, session).scores, floor.scores)


def test_groups_stay_in_one_fold_and_away_from_the_test_images(tiny_dataset):
    images = tuple(
        replace(image, group=f"patient {index % 20}" if index < 40 else image.group)
        for index, image in enumerate(tiny_dataset.images)
    )
    images = (*images[:-1], replace(images[-1], group="patient 0"))  # a test image
    dataset = replace(tiny_dataset, images=images)
    floor = predict_floor(CONFIG, TrainingSession(dataset, device="cpu", cache_size=0))
    groups = {image.id: image.group for image in images}
    folds = {}
    for image_id, fold in zip(floor.ids, floor.fold, strict=True):
        folds.setdefault(groups[image_id], set()).add(fold)
    assert max(map(len, folds.values())) == 1
    assert "patient 0" not in folds
    assert len(floor.ids) == 46


def test_test_images_are_predicted_by_a_model_of_all_training_images_alone(tiny_dataset, session, monkeypatch):
    rng = np.random.default_rng(0)
    parts = {"train": 38, "validation": 10, "test": 12}
    features = {part: torch.from_numpy(rng.normal(size=(count, 6))).float() for part, count in parts.items()}
    monkeypatch.setattr(linear_floor, "frozen_features", lambda _context, part: features[part])
    predictions = predict_test_images(CONFIG, session)
    test = [image for image in tiny_dataset.images if image.origin == "test"]
    assert predictions.ids == tuple(image.id for image in test)
    assert predictions.grades.tolist() == [image.grade for image in test]

    context = session.prepare(CONFIG)
    grades = context.grades[np.concatenate([context.indices("train"), context.indices("validation")])]
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 6, 13)))
    model.fit(np.concatenate([features["train"], features["validation"]]).astype(np.float64), grades)
    assert predictions.predicted.tolist() == model.predict(features["test"].double().numpy()).tolist()

    relabelled = tuple(
        replace(image, grade=(image.grade + (image.origin == "test")) % 5) for image in tiny_dataset.images
    )
    other = TrainingSession(replace(tiny_dataset, images=relabelled), device="cpu", cache_size=0)
    assert predict_test_images(CONFIG, other).predicted.tolist() == predictions.predicted.tolist()


def test_too_few_groups_are_refused(tiny_dataset):
    dataset = replace(tiny_dataset, images=tuple(replace(image, group="one") for image in tiny_dataset.images[:48]))
    with pytest.raises(DataError, match="too few training images for 5 folds"):
        predict_floor(CONFIG, TrainingSession(dataset, device="cpu", cache_size=0))


@pytest.mark.parametrize(
    ("features", "error", "word"),
    [
        (torch.zeros(2, 8, 2, 2), BackboneError, "one input vector"),
        (torch.full((48, 4), torch.nan), TrainingError, "not finite"),
    ],
)
def test_features_that_cannot_be_used_are_refused(session, monkeypatch, features, error, word):
    parts = {"train": features, "validation": features[:0]}
    monkeypatch.setattr(linear_floor, "frozen_features", lambda _context, part: parts[part])
    with pytest.raises(error, match=word):
        predict_floor(CONFIG, session)


def test_scores_are_those_of_a_ridge_classifier():
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 3, 90)
    features, fold = rng.normal(size=(90, 7)) + grades[:, None], rng.permutation(90) % FOLDS
    scores, penalties = predict_out_of_fold(features, grades, fold, 3)
    for number, penalty in enumerate(penalties):
        train = fold != number
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 6, 13)))
        model.fit(features[train], grades[train])
        assert scores[~train] == pytest.approx(model.decision_function(features[~train]))
        assert penalty == pytest.approx(model[-1].alpha_)
    assert np.mean(scores.argmax(axis=1) == grades) > 0.6


def test_labels_that_do_not_depend_on_features_are_not_predicted():
    """Many features and few images: any leak would lift the accuracy far above the share of the largest class."""
    accuracies = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        grades = rng.choice(3, 150, p=(0.5, 0.3, 0.2))
        scores, _ = predict_out_of_fold(rng.normal(size=(150, 400)), grades, rng.permutation(150) % FOLDS, 3)
        accuracies.append(np.mean(scores.argmax(axis=1) == grades))
    mean, error = np.mean(accuracies), np.std(accuracies, ddof=1) / len(accuracies) ** 0.5
    assert 0.4 < mean < 0.5 + 3 * error


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_the_label_and_features_of_an_image_do_not_change_other_scores_of_its_fold(seed, classes):
    rng = np.random.default_rng(seed)
    features, grades = rng.normal(size=(30, 5)), rng.integers(0, classes, 30)
    fold = rng.permutation(30) % FOLDS
    held_out = fold == 0
    before, _ = predict_out_of_fold(features, grades, fold, classes)
    changed = features.copy()
    first = np.flatnonzero(held_out)[0]
    changed[first] = 100.0
    grades = np.where(held_out, (grades + 1) % classes, grades)
    after, _ = predict_out_of_fold(changed, grades, fold, classes)
    others = held_out & (np.arange(30) != first)
    assert np.array_equal(after[others], before[others])


def test_a_class_that_only_the_held_out_images_have_is_not_predicted():
    grades = np.array([0, 1] * 10 + [2] * 4)
    fold = np.array([1, 2, 3, 4] * 5 + [0] * 4)
    scores, _ = predict_out_of_fold(np.random.default_rng(0).normal(size=(24, 3)), grades, fold, 3)
    assert scores[fold == 0, 2] == pytest.approx(-1)
    assert set(scores[fold == 0].argmax(axis=1)) <= {0, 1}


@pytest.mark.real
def test_the_floor_of_idrid_with_imagenet_weights(real_data, real_weights):
    config = with_values(
        TrialConfig(), {"backbone.name": "mobilenetv2_100", "backbone.weights": str(real_weights), "image_size": 128}
    )
    floor = predict_floor(config, open_dataset(str(real_data / "idrid")))
    assert len(floor.ids) == 412  # one of 413 is a duplicate of a test image
    assert np.mean(floor.predicted == floor.grades) >= 0.55
