"""Combined weights and their predictions."""

import numpy as np
import pytest
import torch

from drft.config.trial_config import with_values
from drft.training.trial import run_trial
from study.soup.evaluator import Evaluator, average, interpolate
from study.soup.ingredients import Ingredient
from study.soup.selection import EnsembleRecipe

PRETRAINED = {"a": torch.zeros(2), "head": torch.zeros(2), "count": torch.tensor(0)}


def test_an_average_uses_pretrained_values_for_tensors_that_a_state_lacks():
    states = [{"a": torch.ones(2), "count": torch.tensor(4)}, {"head": torch.full((2,), 6.0)}]
    soup = average(states, PRETRAINED)
    assert soup["a"].tolist() == [0.5, 0.5]
    assert soup["head"].tolist() == [3, 3]
    assert soup["count"] == 4


@pytest.mark.parametrize(("alpha", "value"), [(0.0, 0.0), (0.25, 1.0), (1.0, 4.0)])
def test_interpolation_changes_the_backbone_and_keeps_the_head(alpha, value):
    tuned = {"a": torch.full((2,), 4.0), "head": torch.full((2,), 6.0)}
    weights = interpolate(tuned, PRETRAINED, alpha, {"head"})
    assert weights["a"].tolist() == [value, value]
    assert weights["head"].tolist() == [6, 6]


def test_a_single_trial_predicts_as_in_its_training(tiny_dataset, tiny_config):
    """Its thresholds of an ordinal loss are its own, also after a soup has learned others."""
    config = with_values(tiny_config("none", 2), {"loss.kind": "expected_grade"})
    result = run_trial(config, tiny_dataset)
    state = {name: torch.from_numpy(array) for name, array in result.best_state.items()}
    evaluator = Evaluator(tiny_dataset, [Ingredient(0, config, state), Ingredient(1, config, state)])
    evaluator.probabilities(EnsembleRecipe("soup", "weights", (0, 1)), "validation")
    predicted = evaluator.probabilities(EnsembleRecipe("best trial", "weights", (0,)), "validation")
    assert np.allclose(predicted, result.predictions["validation"].probabilities[result.best.step - 1], atol=2e-3)
