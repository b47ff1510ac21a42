"""Combined weights and their predictions."""

import numpy as np
import pytest
import timm
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


def test_statistics_that_none_of_the_combined_trials_changed_stay(tiny_dataset, tiny_config):
    """A trial of the head alone is the same network at every alpha, whatever other trials are among the best."""
    config = tiny_config("none", 0)
    state = {name: torch.from_numpy(array) for name, array in run_trial(config, tiny_dataset).best_state.items()}
    tensors = timm.create_model("test_resnet").state_dict()
    last = [name for name in tensors if name.endswith(".running_mean")][-1]
    deeper = Ingredient(1, with_values(config, {"depth": 1}), {**state, last: tensors[last] + 1})
    evaluator = Evaluator(tiny_dataset, [Ingredient(0, config, state), deeper])
    alone, half, soup = (
        evaluator.probabilities(EnsembleRecipe("", "weights", trials, alpha), "validation")
        for trials, alpha in (((0,), None), ((0,), 0.5), ((0, 1), None))
    )
    assert np.allclose(half, alone, atol=1e-6)
    assert not np.allclose(soup, alone, atol=1e-3)
