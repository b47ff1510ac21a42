"""Checks for settings that are valid one by one but contradict each other.

They run where all of these settings are known: before a training, and when a search space is bound to its backbone.
"""

from collections.abc import Iterator

from drft.config.trial_config import TrialConfig
from drft.errors import ConfigError

CHECKED_SETTINGS = (
    "depth",
    "loss.kind",
    "loss.label_smoothing",
    "loss.focal_gamma",
    "head_phase.init",
    "depth_phase.epochs",
    "depth_phase.window",
    "depth_phase.gradual_epochs",
    "depth_phase.parameters",
    "depth_phase.auto_rgn",
    "regularization.stoch_norm",
    "batch_norm",
)
"""All settings that ``contradictions`` reads. A search space is checked for these alone."""


def check(config: TrialConfig) -> None:
    """Raise an error if settings of a configuration contradict each other.

    Raises:
        ConfigError: with one fault for each contradiction.
    """
    faults = [f"{path}: {reason}" for path, reason in contradictions(config)]
    if faults:
        raise ConfigError(faults)


def contradictions(config: TrialConfig) -> Iterator[tuple[str, str]]:
    """Yield for each contradiction the path of one of its settings, and what is wrong and what to do."""
    depth, phase, kind = config.depth, config.depth_phase, config.loss.kind
    if phase.window is not None and phase.window > depth:
        yield "depth_phase.window", f"depth {depth} has no {phase.window} blocks to train: lower it, or raise depth"
    if phase.window is not None and phase.gradual_epochs:
        reason = "starts with blocks that depth_phase.window leaves frozen"
        yield "depth_phase.gradual_epochs", f"{reason}: set one of the two"
    needed = (depth - 1) * phase.gradual_epochs + 1
    if phase.gradual_epochs and needed > phase.epochs:
        reason = f"{phase.gradual_epochs} per block reach depth {depth} in epoch {needed}, and depth_phase.epochs is"
        yield "depth_phase.gradual_epochs", f"{reason} {phase.epochs}: lower the one, or raise the other"
    if phase.auto_rgn and phase.parameters == "lora":
        reason = (
            "compares gradients with weights, and the low-rank updates of depth_phase.parameters lora start at zero"
        )
        yield "depth_phase.auto_rgn", f"{reason}: set one of the two"
    if kind != "cross_entropy":
        for name in ("label_smoothing", "focal_gamma"):
            if getattr(config.loss, name):
                yield f"loss.{name}", f"changes the cross-entropy only, and loss.kind is {kind}: set one of the two"
    if kind in {"coral", "corn"} and config.head_phase.init == "linear_probe":
        reason = f"a linear probe has one score per grade, and loss.kind {kind} uses the outputs otherwise"
        yield "head_phase.init", f"{reason}: set it to random"
    if config.regularization.stoch_norm and config.batch_norm == "frozen":
        reason = "with batch_norm frozen, no batch norm uses the statistics of a batch"
        yield "regularization.stoch_norm", f"{reason}: set batch_norm to adapt, or this to 0"
