"""Settings that are right each by itself and make no sense together.

They are looked for where all of them are known: before a training, and where a search space is checked.
"""

from collections.abc import Iterator

from drft.config import TrialConfig
from drft.errors import ConfigError


def check(config: TrialConfig) -> None:
    """Refuse a configuration that contradicts itself.

    Raises:
        ConfigError: with one fault for each contradiction.
    """
    faults = tuple(contradictions(config))
    if faults:
        raise ConfigError(faults)


def contradictions(config: TrialConfig) -> Iterator[str]:
    """Yield one line for each contradiction: what, where, and what to do."""
    depth, how = config.depth, config.depth_phase
    if how.window is not None and how.window > depth:
        yield f"depth_phase.window: {how.window} blocks of the last {depth} cannot be trained: raise depth, or lower it"
    if how.window is not None and how.gradual_epochs:
        yield (
            "depth_phase.window and depth_phase.gradual_epochs: one leaves the blocks next to the head frozen, the "
            "other begins with them: set one of them"
        )
    needed = (depth - 1) * how.gradual_epochs + 1
    if how.gradual_epochs and needed > how.epochs:
        yield (
            f"depth_phase.gradual_epochs: {how.gradual_epochs} per block come to depth {depth} in epoch {needed}, "
            f"depth_phase.epochs is {how.epochs}: raise the one, or lower the other"
        )
    if how.auto_rgn and how.parameters == "lora":
        yield (
            "depth_phase.auto_rgn: gradients are compared to pretrained weights, and low-rank updates start from zero: "
            "leave it out with depth_phase.parameters lora"
        )
    if config.regularization.stoch_norm and config.batch_norm == "frozen":
        yield (
            "regularization.stoch_norm: with batch_norm frozen no batch norm uses the statistics of a batch: set "
            "batch_norm to adapt, or this to 0"
        )
