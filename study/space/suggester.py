"""What the tuner needs of a search space."""

from typing import Protocol

from optuna.trial import Trial

from drft.config.trial_config import TrialConfig


class Suggester(Protocol):
    """A bound search space, as far as the conductor needs it."""

    def suggest(self, trial: Trial) -> TrialConfig:
        """Draw one configuration."""
