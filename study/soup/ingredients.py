"""The trials that are put together: the best of a study, as far as they can be."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from drft.config.trial_config import TrialConfig
from drft.errors import StudyError
from drft.models.checkpoint import read_checkpoint
from study.results.study_folder import CHECKPOINT
from study.results.study_results import StudyResults


class Ingredient(NamedTuple):
    """One trial with its weights."""

    trial: int
    config: TrialConfig
    state: dict[str, Tensor]
    """The tensors that its training changed, and those of its head."""


class LeftOut(NamedTuple):
    """A trial that is not put in, and why."""

    trial: int
    reason: str


def find_ingredients(study: StudyResults, top: int) -> tuple[list[Ingredient], list[LeftOut]]:
    """Return the best completed trials whose weights can be averaged, best first, and those of them that cannot be.

    Weights that began at one point can be averaged, position by position; so trials go in that share with the best one
    backbone, pretrained weights, normalization and image size, and, to be judged together, the split.

    Args:
        study: as it was read.
        top: how many of its best trials are looked at.

    Raises:
        StudyError: when fewer than two can be put together, or the weights they began with were random.
        WeightsError: when a checkpoint cannot be read.
    """
    found: list[Ingredient] = []
    left_out: list[LeftOut] = []
    for number in map(int, study.eligible["number"].head(top)):
        path = study.info.folder / "trials" / f"{number:04d}" / CHECKPOINT
        if not path.is_file():
            left_out.append(LeftOut(number, "its checkpoint was not kept (--keep-checkpoints)"))
            continue
        one = _read(number, path)
        reason = _unlike(one, found[0]) if found else None
        if reason is None:
            found.append(one)
        else:
            left_out.append(LeftOut(number, reason))
    _check(study.info.name, found, left_out)
    return found, left_out


def read_ingredients(study: StudyResults, trials: Sequence[int]) -> list[Ingredient]:
    """Return these trials with their weights; errors as in ``drft.models.checkpoint.read_checkpoint``."""
    return [_read(number, study.info.folder / "trials" / f"{number:04d}" / CHECKPOINT) for number in trials]


def _read(number: int, path: Path) -> Ingredient:
    stored = read_checkpoint(path)
    return Ingredient(number, stored.config, stored.tensors)


def _unlike(one: Ingredient, best: Ingredient) -> str | None:
    """Say in what a trial differs from the best one so that their weights cannot be averaged."""
    shared = _shared(best.config)
    for name, value in _shared(one.config).items():
        if value != shared[name]:
            return f"its {name} is {value}, not {shared[name]} as that of trial {best.trial}"
    shapes = {name: tensor.shape for name, tensor in best.state.items()}
    odd = [name for name, tensor in one.state.items() if shapes.get(name, tensor.shape) != tensor.shape]
    return f"its tensor {odd[0]} has another shape than that of trial {best.trial}" if odd else None


def _shared(config: TrialConfig) -> dict[str, object]:
    backbone = config.backbone
    return {
        "backbone": backbone.name,
        "backbone.weights": backbone.weights,
        "backbone.normalization": backbone.normalization,
        "image_size": config.image_size,
        "loss.kind": config.loss.kind,
        "split": config.split,
    }


def _check(name: str, found: list[Ingredient], left_out: list[LeftOut]) -> None:
    if found and found[0].config.backbone.weights == "none":
        raise StudyError(
            f"study {name!r} began from random weights, another draw in each trial: there is nothing to average"
        )
    if len(found) < 2:
        why = "; ".join(f"trial {one.trial}: {one.reason}" for one in left_out)
        raise StudyError(
            f"study {name!r} has {len(found)} completed trials that can be put together, it takes two"
            + (f" ({why})" if why else ": run more trials")
        )
