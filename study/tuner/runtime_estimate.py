"""Estimate how long trainings take, from those that ran, so that the longest are started first.

Starting the longest remaining training on every free worker lets the workers finish at about the same time: such a
schedule is at most four thirds as long as the best one (Graham 1969, SIAM J. Appl. Math. 17:416).
"""

from collections.abc import Iterable, Sequence
from math import log
from statistics import median
from typing import NamedTuple

from optuna.trial import FrozenTrial

from drft.config.trial_config import TrialConfig

_RECENT = 100
"""Number of trials that the estimate uses: the latest ran with full caches, as the next ones will."""


class PastTraining(NamedTuple):
    """A training that ran."""

    config: TrialConfig
    epochs: int
    seconds: float


def past_trainings(trials: Iterable[FrozenTrial]) -> list[PastTraining]:
    """Return the trainings of the latest finished trials; those without a recorded runtime are left out."""
    timed = [trial for trial in trials if trial.last_step and trial.user_attrs.get("seconds")]
    return [
        PastTraining(
            TrialConfig.model_validate_json(trial.user_attrs["config"]),
            trial.last_step or 0,
            trial.user_attrs["seconds"],
        )
        for trial in timed[-_RECENT:]
    ]


def expected_seconds(config: TrialConfig, past: Sequence[PastTraining]) -> float:
    """Return about how long a training takes without pruning.

    The time of an epoch is the median over the most similar past trainings: same backbone if there is one, then the
    nearest image size, then the nearest depth. Without past trainings, the result has no unit and only gives an order.
    """
    epochs, pixels = config.head_phase.epochs + config.depth_phase.epochs, config.image_size**2
    if not past:
        return float(epochs * pixels * (1 + config.depth))
    distances = [_distance(config, training.config) for training in past]
    nearest = min(distances)
    similar = [training for training, distance in zip(past, distances, strict=True) if distance == nearest]
    return (
        epochs
        * pixels
        * median(training.seconds / training.epochs / training.config.image_size**2 for training in similar)
    )


def _distance(config: TrialConfig, other: TrialConfig) -> tuple[bool, float, int]:
    sizes = abs(log(config.image_size / other.image_size))
    return config.backbone.name != other.backbone.name, sizes, abs(config.depth - other.depth)
