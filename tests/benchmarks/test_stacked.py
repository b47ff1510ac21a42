"""Stacked trainings have the gradients that they have alone."""

import pytest
import torch

from benchmarks.stacked import BACKBONES, Trainings

QUICK = ("mobilenetv3_small_050", "resnet18", "convnext_atto", "vit_tiny_patch16_224")
FAMILIES = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES if name not in QUICK)]


@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
@pytest.mark.parametrize("backbone", FAMILIES)
def test_stacked_gradients_equal_those_of_single_trainings(backbone, batch_norm):
    trainings = Trainings(backbone, 2, batch_norm, image_size=64, batch=4, dtype=torch.float64)
    assert trainings.largest_difference() < 1e-9


def test_each_training_has_its_own_gradients():
    trainings = Trainings("resnet18", 2, "frozen", image_size=32, batch=2)
    first, second = trainings.stacked()["net.fc.weight"]
    assert (first - second).abs().max() > 0.01
