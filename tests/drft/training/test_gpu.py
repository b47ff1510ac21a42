"""Trainings on a GPU. All but the last are skipped where there is none."""

import numpy as np
import pytest
import torch

from drft.config.trial_config import parse_config
from drft.data.dataset import ImageDataset
from drft.training.session import TrainingSession
from drft.training.trial import run_trial

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

CONFIG = {
    "depth": 3,
    "image_size": 64,
    "batch_size": 8,
    "precision": "fp32",
    "head_phase": {"epochs": 1},
    "depth_phase": {"epochs": 3, "lr": 1e-4},
    "augmentation": {"strength": 0.5},
}


def probabilities(session: TrainingSession, **values: object) -> np.ndarray:
    """Return the probabilities of the validation images after every epoch."""
    config = parse_config({**CONFIG, **values})
    return run_trial(config, session).predictions["validation"].probabilities.astype(np.float64)


@pytest.fixture(scope="module")
def session(tiny_dataset: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> TrainingSession:
    return TrainingSession(tiny_dataset, device="cuda", cache_dir=tmp_path_factory.mktemp("gpu"))


def test_a_training_agrees_with_the_cpu(session, tiny_dataset, tmp_path):
    cpu = probabilities(TrainingSession(tiny_dataset, device="cpu", cache_dir=tmp_path))
    differences = np.abs(probabilities(session) - cpu).max(axis=(1, 2))
    print("largest difference of a probability, by epoch:", differences)
    assert differences.max() < 0.02


def test_a_cached_training_agrees_with_an_uncached_one(session, tiny_dataset, tmp_path):
    uncached = TrainingSession(tiny_dataset, device="cuda", cache_dir=tmp_path, cache_size=0)
    assert np.abs(probabilities(session) - probabilities(uncached)).max() < 0.02


@pytest.mark.parametrize("values", [{}, {"optimizer": {"name": "sgd"}}, {"batch_norm": "adapt"}, {"dropout": 0.5}])
def test_graphs_agree_with_steps_started_one_by_one(session, values, monkeypatch):
    graphs = probabilities(session, **values)
    monkeypatch.setattr("drft.training.step_graph._WARM_UP", 10**9)
    assert np.abs(graphs - probabilities(session, **values)).max() < 0.02


@pytest.mark.parametrize(
    "values",
    [
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"micro_batch": 3},
        {"loss": {"kind": "coral"}},
        {"loss": {"kind": "corn"}},
        {"loss": {"kind": "expected_grade"}},
        {"depth_phase": {"epochs": 3, "lr": 1e-4, "gradual_epochs": 1}},
        {"depth_phase": {"epochs": 3, "lr": 1e-4, "parameters": "lora"}},
        {"depth_phase": {"epochs": 3, "lr": 1e-4, "auto_rgn": True}},
        {"regularization": {"sam_rho": 0.05}},
        {"regularization": {"ema_decay": 0.9, "feature_mixup": 0.2, "bss": 0.001, "l2_sp": 0.01}},
        {"regularization": {"stoch_norm": 0.5}},
    ],
)
def test_every_kind_of_step_runs(session, values):
    assert np.isfinite(probabilities(session, **values)).all()


def test_the_memory_of_a_training_is_freed(session):
    mebibytes = []
    for seed in range(5):
        probabilities(session, seed=seed)
        mebibytes.append(round(torch.cuda.memory_allocated() / 2**20, 1))
    assert mebibytes[-1] <= mebibytes[0] * 1.1 + 1, mebibytes
