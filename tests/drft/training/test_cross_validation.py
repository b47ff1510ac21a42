"""Training once for each fold: what is put together is what separate trainings say, and each image counts once."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from drft.config.trial_config import parse_config, with_values
from drft.data.dataset import ImageDataset, fingerprint
from drft.data.splits import stratified_folds
from drft.errors import ConfigError
from drft.inference import predict_images
from drft.metrics import score
from drft.models.checkpoint import load_checkpoint, save_checkpoint
from drft.training.cross_validation import run_folds
from drft.training.records import EpochRecord
from drft.training.session import TrainingSession
from drft.training.trial import run_trial

FOLDS = 3
CONFIG = parse_config(
    {
        "image_size": 32,
        "depth": 1,
        "batch_size": 16,
        "metric": "qwk",
        "backbone": {"name": "test_resnet", "weights": "none"},
        "split": {"folds": FOLDS, "fold": None},
        "head_phase": {"epochs": 1, "lr": 0.05},
        "depth_phase": {"epochs": 2, "lr": 0.01, "head_lr": 0.05},
    }
)
STEPS = CONFIG.steps


@pytest.fixture(scope="module")
def session(tiny_dataset):
    return TrainingSession(tiny_dataset, device="cpu")


@pytest.fixture(scope="module")
def told(session):
    """The result of all folds, the epochs that were reported, and separate trainings on each fold."""
    epochs = []
    together = run_folds(CONFIG, session, lambda record: epochs.append(record) or True)
    return together, epochs, [run_trial(with_values(CONFIG, {"split.fold": fold}), session) for fold in range(FOLDS)]


def told_of(results, part, step):
    """What separate trainings said of a part at a step, one after the other: probabilities and grades."""
    parts = [result.predictions[part] for result in results]
    return np.concatenate([one.probabilities[step] for one in parts]), np.concatenate([one.grades for one in parts])


def test_scores_are_those_of_all_predictions_together(told):
    together, _, alone = told
    assert (together.ending, together.folds, len(together.records)) == ("completed", FOLDS, STEPS)
    for step, record in enumerate(together.records):
        probabilities, grades = told_of(alone, "validation", step)
        expected = score(np.log(probabilities.astype(np.float32) + 1e-9), grades)
        found = (record.val_accuracy, record.val_qwk, record.val_balanced_accuracy)
        assert found == pytest.approx((expected.accuracy, expected.qwk, expected.balanced_accuracy))
        for part, name in (("train", "train"), ("validation", "val")):
            sizes = [len(one.predictions[part].ids) for one in alone]
            for figure in (f"{name}_accuracy", f"{name}_loss"):
                mean = np.average([getattr(one.records[step], figure) for one in alone], weights=sizes)
                assert getattr(record, figure) == pytest.approx(mean)
        assert record.running_loss == pytest.approx(np.mean([one.records[step].running_loss for one in alone]))


def test_every_training_image_validates_once_by_the_model_that_never_saw_it(told, tiny_dataset):
    together, _, alone = told
    found = together.predictions["validation"]
    assert list(found.ids) == [one.id for one in tiny_dataset.images if one.origin == "train"]
    for one in (fold.predictions["validation"] for fold in alone):
        rows = [found.ids.index(name) for name in one.ids]
        np.testing.assert_array_equal(found.probabilities[:, rows], one.probabilities)
        np.testing.assert_array_equal(found.grades[rows], one.grades)


@pytest.mark.parametrize("part", ["train", "test"])
def test_other_images_are_graded_by_one_model_each_and_all_models_take_part(told, part):
    together, _, alone = told
    found, graders = together.predictions[part], set()
    for row, name in enumerate(found.ids):
        of = [
            fold
            for fold, one in enumerate(alone)
            if name in (said := one.predictions[part]).ids
            and np.array_equal(said.probabilities[:, said.ids.index(name)], found.probabilities[:, row])
        ]
        assert of, f"no model says this of {name}"
        graders |= {of[0]} if len(of) == 1 else set()
    assert graders == set(range(FOLDS))


def test_the_state_is_that_of_the_last_fold_at_the_common_best_step(told, tiny_dataset, tmp_path):
    together, _, alone = told
    assert together.best_config.split.fold == FOLDS - 1
    assert alone[-1].best.step != together.best.step, "choose other seeds: here the last fold would do by itself"
    save_checkpoint(tmp_path / "best.safetensors", together.best_state, together.best_config, 5)
    model, config = load_checkpoint(tmp_path / "best.safetensors")
    said = alone[-1].predictions["validation"]
    paths = {one.id: one.path for one in tiny_dataset.images}
    graded = predict_images(model, config.image_size, [paths[name] for name in said.ids], device=torch.device("cpu"))
    np.testing.assert_allclose(graded, said.probabilities[together.best.step - 1], atol=2e-3)


def test_epochs_are_reported_with_their_fold(told):
    _, epochs, alone = told
    assert [(one.fold, one.step) for one in epochs] == [(f, s) for f in range(FOLDS) for s in range(1, STEPS + 1)]
    names = [field.name for field in fields(EpochRecord) if field.compare]
    for record, expected in zip(epochs, (record for one in alone for record in one.records), strict=True):
        assert all(getattr(record, name) == getattr(expected, name) for name in names)


@pytest.mark.parametrize(("stop", "folds"), [((1, STEPS), 2), ((1, 1), 1), ((0, 2), 1)])
def test_who_is_told_to_stop_says_what_whole_folds_said(session, told, stop, folds):
    pruned = run_folds(CONFIG, session, lambda record: (record.fold, record.step) != stop)
    assert (pruned.ending, pruned.folds) == ("pruned", folds)
    validated = pruned.predictions["validation"].ids
    assert len(validated) == sum(len(one.predictions["validation"].ids) for one in told[2][:folds])
    assert len(pruned.records) == (STEPS if stop[0] else stop[1])
    if folds == 1:
        assert list(pruned.records) == list(told[2][0].records[: len(pruned.records)])


def test_a_dataset_without_test_images_has_folds(tiny_dataset):
    images = tuple(one for one in tiny_dataset.images if one.origin == "train")
    dataset = ImageDataset("untested", images, fingerprint(images, [one.id for one in images]))
    short = with_values(CONFIG, {"split.folds": 2, "depth_phase.epochs": 0})
    result = run_folds(short, TrainingSession(dataset, device="cpu"))
    assert result.predictions["test"].probabilities.shape == (1, 0, 5)
    assert len(result.predictions["validation"].ids) == sum(map(len, stratified_folds(dataset, 2, 0)))


@pytest.mark.parametrize(
    ("run", "changes", "word"),
    [
        (run_trial, {}, "split.fold is null"),
        (run_folds, {"split.fold": 0}, "split.folds"),
        (run_folds, {"early_stopping.patience": 2}, "early_stopping.patience"),
    ],
)
def test_what_does_not_go_with_folds_is_said(session, run, changes, word):
    with pytest.raises(ConfigError, match=word):
        run(with_values(CONFIG, changes), session)


def test_folds_share_what_is_computed_of_their_images(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("drft.feature_cache.features._SECONDS_PER_BYTE", 0.0)  # keep everything
    epochs: dict[str, list] = {"kept": [], "anew": []}
    config = with_values(CONFIG, {"augmentation.strength": 0.5})
    for name, size in (("kept", None), ("anew", 0)):
        fresh = TrainingSession(tiny_dataset, device="cpu", cache_dir=tmp_path, cache_size=size)
        run_folds(config, fresh, lambda record, told=epochs[name]: told.append(record) or True)
    assert {record.fold for record in epochs["kept"] if not record.cached} == {0}
    for kept, anew in zip(epochs["kept"], epochs["anew"], strict=True):
        assert (kept.train_loss, kept.val_loss) == pytest.approx((anew.train_loss, anew.val_loss), rel=1e-4)
