"""A setting that is there but never applied must not exist: each one changes the training, or says here why not."""

import functools
from pathlib import Path
from typing import NamedTuple

import pytest
import safetensors.torch

from drft.config.trial_config import TrialConfig, config_paths, parse_config, with_values
from drft.models.backbone import build_model
from drft.training.session import TrainingSession
from drft.training.trial import run_trial

BASE = parse_config(
    {
        "image_size": 32,
        "precision": "fp32",
        "depth": 2,
        "batch_size": 16,
        "backbone": {"name": "test_resnet", "weights": "none"},
        "head_phase": {"epochs": 1},
        "depth_phase": {"epochs": 1},
    }
)
STILL = {"head_phase.lr": 1e-12, "depth_phase.lr": 1e-12, "depth_phase.head_lr": 1e-12, "batch_norm": "frozen"}


class Change(NamedTuple):
    """Another value of a setting, and what has to be so for it to mean anything."""

    value: object
    given: dict[str, object] = {}  # noqa: RUF012 (never changed)


CHANGES = {
    "seed": Change(1),
    "depth": Change(1),
    "image_size": Change(40),
    "batch_size": Change(8),
    "micro_batch": Change(4),
    "dropout": Change(0.5),
    "batch_norm": Change("frozen"),
    "precision": Change("bf16"),
    "backbone.name": Change("test_efficientnet"),
    "backbone.weights": Change("FILE"),
    "backbone.normalization": Change("imagenet"),
    "backbone.drop_path": Change(0.5),
    "split.validation_fraction": Change(0.4),
    "split.seed": Change(3),
    "split.folds": Change(3),
    "split.fold": Change(1, {"split.folds": 3}),  # and all of them: test_folds.py
    "augmentation.strength": Change(0.0),
    "augmentation.seed": Change(5),
    "optimizer.name": Change("sgd"),
    "optimizer.weight_decay": Change(0.4),
    "optimizer.momentum": Change(0.5),
    "loss.kind": Change("corn"),
    "loss.label_smoothing": Change(0.2),
    "loss.class_weighting": Change("balanced"),
    "loss.effective_beta": Change(0.9, {"loss.class_weighting": "effective_number"}),
    "loss.focal_gamma": Change(2.0),
    "regularization.l2_sp": Change(5.0),
    "regularization.bss": Change(1.0),
    "regularization.stoch_norm": Change(0.5),
    "regularization.ema_decay": Change(0.9),
    "regularization.sam_rho": Change(0.5),
    "regularization.feature_mixup": Change(1.0),
    "head_phase.epochs": Change(2),
    "head_phase.init": Change("linear_probe"),
    "head_phase.probe_l2": Change(0.5, {"head_phase.init": "linear_probe"}),
    "head_phase.lr": Change(0.02),
    "head_phase.schedule": Change("cosine"),
    "head_phase.warmup_epochs": Change(1.0),
    "depth_phase.epochs": Change(2),
    "depth_phase.lr": Change(0.02),
    "depth_phase.head_lr": Change(0.02),
    "depth_phase.layer_decay": Change(0.5),
    "depth_phase.schedule": Change("constant", {"depth_phase.epochs": 2}),
    "depth_phase.warmup_epochs": Change(0.0),
    "depth_phase.window": Change(1),
    "depth_phase.gradual_epochs": Change(1, {"depth_phase.epochs": 2}),
    "depth_phase.parameters": Change("bias_and_norm"),
    "depth_phase.lora_rank": Change(2, {"depth_phase.parameters": "lora"}),
    "depth_phase.lora_alpha": Change(8.0, {"depth_phase.parameters": "lora"}),
    "depth_phase.auto_rgn": Change(True),
    "early_stopping.patience": Change(1, {**STILL, "depth_phase.epochs": 3}),
}
WITHOUT_EFFECT = {
    "metric": "chooses among epochs and changes none: test_trial.py, test_the_metric_picks_the_best_epoch",
}
"""Settings that leave the records of a training as they are, and why that is right."""


@pytest.fixture(scope="module")
def told(tiny_dataset):
    """What the records of a training say that learning rates alone do not change; no training is run twice."""
    session = TrainingSession(tiny_dataset, device="cpu")

    @functools.cache
    def train(config: TrialConfig) -> list[tuple[float, float]]:
        return [(record.train_loss, record.val_loss) for record in run_trial(config, session).records]

    return train


@pytest.fixture
def weights(tmp_path) -> Path:
    """Weights of another seed."""
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(build_model(BASE, seed=9).net.state_dict(), path)
    return path


def test_every_setting_is_looked_at():
    assert sorted([*CHANGES, *WITHOUT_EFFECT]) == sorted(config_paths()), "say here what a new setting changes"


@pytest.mark.parametrize("path", CHANGES)
def test_every_setting_changes_the_training(told, weights, path):
    change = CHANGES[path]
    before = with_values(BASE, change.given)
    after = with_values(before, {path: str(weights) if change.value == "FILE" else change.value})
    assert after != before
    assert told(after) != told(before)


@pytest.mark.parametrize("path", WITHOUT_EFFECT)
def test_what_has_no_effect_has_none(told, path):
    assert told(with_values(BASE, {path: "qwk"})) == told(BASE)
