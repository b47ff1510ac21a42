"""The trials that are combined: the best ones of a study whose weights can be averaged."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from torch import Tensor

from drft.config.trial_config import TrialConfig
from drft.errors import StudyError, WeightsError
from drft.models.checkpoint import read_checkpoint
from study.results.study_results import StudyResults

_SHARED = ("backbone.name", "backbone.weights", "backbone.normalization", "image_size", "loss.kind", "split")
"""Settings that trials must share to be combined."""


class Ingredient(NamedTuple):
    """One trial with its weights."""

    trial: int
    config: TrialConfig
    state: dict[str, Tensor]
    """The tensors that its training changed, and those of its head."""


class LeftOut(NamedTuple):
    """A trial that is not combined, and why."""

    trial: int
    reason: str


def find_ingredients(study: StudyResults, top: int) -> tuple[list[Ingredient], list[LeftOut]]:
    """Return the best completed trials whose weights can be averaged, best first, and the others with the reason.

    Weights can be averaged tensor by tensor if their trainings started at the same point. Trials must therefore have
    the backbone, pretrained weights, normalization, image size and loss of the best trial. They must have its split,
    too, so that they are scored on the same images.

    Args:
        study: the study.
        top: how many of its best trials are considered.

    Raises:
        StudyError: when fewer than two can be combined, when they started from random weights, or when their split
            changes from trial to trial (goal ``depth``).
    """
    if study.splits_change:
        raise StudyError(
            f"trials of study {study.info.name!r} cannot be combined: {study.splits_change}; "
            "drft-study export writes the ensemble of its recommended depth"
        )
    ingredients: list[Ingredient] = []
    left_out: list[LeftOut] = []
    for number in map(int, study.eligible["number"].head(top)):
        if not study.checkpoint_file(number).is_file():
            left_out.append(LeftOut(number, "its checkpoint was not kept (--keep-checkpoints)"))
            continue
        try:
            (ingredient,) = read_ingredients(study, [number])
        except WeightsError as error:
            study.name_damage(str(error))
            left_out.append(LeftOut(number, "its checkpoint is damaged"))
            continue
        reason = _difference(ingredient, ingredients[0]) if ingredients else None
        if reason is None:
            ingredients.append(ingredient)
        else:
            left_out.append(LeftOut(number, reason))
    name = study.info.name
    if ingredients and ingredients[0].config.backbone.weights == "none":
        raise StudyError(f"study {name!r} started each trial from other random weights: they cannot be averaged")
    if len(ingredients) < 2:
        reasons = "; ".join(f"trial {trial.trial}: {trial.reason}" for trial in left_out)
        raise StudyError(
            f"study {name!r} has {len(ingredients)} completed trials that can be combined, two are needed"
            + (f" ({reasons})" if reasons else ": run more trials")
        )
    return ingredients, left_out


def read_ingredients(study: StudyResults, trials: Sequence[int]) -> list[Ingredient]:
    """Return these trials with their weights; errors as in ``drft.models.checkpoint.read_checkpoint``."""
    stored = [read_checkpoint(study.checkpoint_file(number)) for number in trials]
    return [
        Ingredient(number, checkpoint.config, checkpoint.tensors)
        for number, checkpoint in zip(trials, stored, strict=True)
    ]


def _difference(trial: Ingredient, best: Ingredient) -> str | None:
    """Return the difference from the best trial for which the weights cannot be averaged; None if they can be."""
    for path in _SHARED:
        value, expected = attrgetter(path)(trial.config), attrgetter(path)(best.config)
        if value != expected:
            return f"its {path} is {value}, not {expected} as that of trial {best.trial}"
    for name, tensor in trial.state.items():
        if name in best.state and best.state[name].shape != tensor.shape:
            return f"its tensor {name} has another shape than that of trial {best.trial}"
    return None
