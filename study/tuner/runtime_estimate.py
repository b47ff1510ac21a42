"""How long trainings will take, told by those that were run: the longest are started first.

Slots that take the longest of what is left end together, or nearly so: no schedule made in such an order is longer than
four thirds of the best one (Graham 1969, SIAM J. Appl. Math. 17:416).
"""

from collections.abc import Iterable, Sequence
from math import log
from statistics import median
from typing import NamedTuple

from optuna.trial import FrozenTrial

from drft.config.trial_config import TrialConfig

_REMEMBERED = 100
"""Trials that are looked at: the last ones ran as the next ones will, with their caches full."""


class PastTraining(NamedTuple):
    """A training that was run."""

    config: TrialConfig
    epochs: int
    seconds: float


def ran(trials: Iterable[FrozenTrial]) -> list[PastTraining]:
    """Return what the last of these trials took; those that did not say are passed over."""
    told = [trial for trial in trials if trial.last_step and trial.user_attrs.get("seconds")]
    return [
        PastTraining(
            TrialConfig.model_validate_json(trial.user_attrs["config"]),
            trial.last_step or 0,
            trial.user_attrs["seconds"],
        )
        for trial in told[-_REMEMBERED:]
    ]


def expected_seconds(config: TrialConfig, known: Sequence[PastTraining]) -> float:
    """Return about how long a training takes, if nothing prunes it.

    An epoch counts as in the trainings nearest to it: of the same backbone if there are any, then of the nearest image
    size, then of the nearest depth. Where nothing was run, what is returned has no unit and says only which is longer.
    """
    epochs, pixels = config.head_phase.epochs + config.depth_phase.epochs, config.image_size**2
    if not known:
        return float(epochs * pixels * (1 + config.depth))
    nearest = min(_distance(config, one.config) for one in known)
    alike = [one for one in known if _distance(config, one.config) == nearest]
    return epochs * pixels * median(one.seconds / one.epochs / one.config.image_size**2 for one in alike)


def _distance(one: TrialConfig, other: TrialConfig) -> tuple[bool, float, int]:
    sizes = abs(log(one.image_size / other.image_size))
    return (one.backbone.name != other.backbone.name, sizes, abs(one.depth - other.depth))
