"""A refit trains on every training image, follows the schedule of the full length, and keeps its last epoch."""

import math

import numpy as np
import pytest

from drft.config.trial_config import parse_config, with_values
from drft.errors import ConfigError
from drft.inference import predict_images
from drft.models.checkpoint import load_checkpoint, save_checkpoint
from drft.training.refit import run_refit
from drft.training.session import TrainingSession
from drft.training.trial import run_trial

TINY = parse_config(
    {
        "image_size": 32,
        "depth": 2,
        "batch_size": 16,
        "backbone": {"name": "test_resnet", "weights": "none"},
        "head_phase": {"epochs": 2},
        "depth_phase": {"epochs": 4},
    }
)


@pytest.mark.parametrize("values", [{}, {"split.folds": 4}, {"regularization.ema_decay": 0.5}])
def test_the_state_is_that_of_the_last_epoch_on_all_training_images(tiny_dataset, values, tmp_path):
    config = with_values(TINY, values)
    refit = run_refit(config, tiny_dataset, epochs=5)
    images = [image for image in tiny_dataset.images if image.origin == "train"]
    assert refit.images == len(images) == 48
    assert [(record.step, record.phase) for record in refit.records][-1] == (5, "depth")
    save_checkpoint(tmp_path / "refit.safetensors", refit.state, config, len(tiny_dataset.grades))
    model, _ = load_checkpoint(tmp_path / "refit.safetensors")
    predicted = predict_images(model, config.image_size, [image.path for image in images]).argmax(axis=1)
    accuracy = float(np.mean(predicted == [image.grade for image in images]))
    assert accuracy == pytest.approx(refit.records[-1].train_accuracy, abs=1e-6)


def test_it_ends_on_the_schedule_of_the_full_length(tiny_dataset):
    whole = run_refit(TINY, tiny_dataset, epochs=6)
    short = run_refit(TINY, tiny_dataset, epochs=4)
    for name in ("running_loss", "head_lr", "block_lr", "train_loss"):
        assert [getattr(record, name) for record in short.records] == [
            getattr(record, name) for record in whole.records[:4]
        ]
    assert short.records[-1].block_lr > 2 * whole.records[-1].block_lr


def test_no_image_validates_and_patience_has_no_effect(tiny_dataset):
    refit = run_refit(with_values(TINY, {"early_stopping.patience": 1}), tiny_dataset, epochs=6)
    assert len(refit.records) == 6
    assert all(math.isnan(record.val_accuracy) and math.isnan(record.val_loss) for record in refit.records)


def test_a_session_trains_as_before_after_a_refit_that_ended_early(tiny_dataset):
    session = TrainingSession(tiny_dataset)
    first = run_trial(TINY, session)
    run_refit(TINY, session, epochs=3)
    assert run_trial(TINY, session).records == first.records


@pytest.mark.parametrize("epochs", [0, 7])
def test_epochs_that_the_schedule_does_not_have_are_refused(tiny_dataset, epochs):
    with pytest.raises(ConfigError, match=f"epochs is {epochs}: both phases together have 1 to 6"):
        run_refit(TINY, tiny_dataset, epochs)
