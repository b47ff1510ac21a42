"""The interface of a search space for the trial scheduler."""

from typing import Protocol

from optuna.trial import Trial

from drft.config.trial_config import TrialConfig


class Suggester(Protocol):
    """Draws configurations: a ``BoundSpace``, or the ``ConfirmationPlan`` of a study."""

    def suggest(self, trial: Trial) -> TrialConfig:
        """Return the configuration of a trial."""
