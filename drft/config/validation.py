"""Settings that are right each by itself and make no sense together.

They are looked for where all of them are known: before a training, and where a search space meets its backbone.
"""

from collections.abc import Iterator

from drft.config.trial_config import TrialConfig
from drft.errors import ConfigError

LOOKED_AT = (
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
"""All settings that ``contradictions`` looks at."""


def check(config: TrialConfig) -> None:
    """Refuse a configuration that contradicts itself.

    Raises:
        ConfigError: with one fault for each contradiction.
    """
    faults = [f"{path}: {why}" for path, why in contradictions(config)]
    if faults:
        raise ConfigError(faults)


def contradictions(config: TrialConfig) -> Iterator[tuple[str, str]]:
    """Yield for each contradiction the setting where it shows, and what is wrong with it and to be done."""
    depth, how = config.depth, config.depth_phase
    if how.window is not None and how.window > depth:
        yield "depth_phase.window", f"depth {depth} has no {how.window} blocks to train: lower it, or raise depth"
    if how.window is not None and how.gradual_epochs:
        why = "begins with the blocks that depth_phase.window leaves frozen"
        yield "depth_phase.gradual_epochs", f"{why}: set one of the two"
    needed = (depth - 1) * how.gradual_epochs + 1
    if how.gradual_epochs and needed > how.epochs:
        why = f"{how.gradual_epochs} for each block come to depth {depth} in epoch {needed}, and depth_phase.epochs is"
        yield "depth_phase.gradual_epochs", f"{why} {how.epochs}: lower the one, or raise the other"
    if how.auto_rgn and how.parameters == "lora":
        why = "compares gradients to weights, and the low-rank updates of depth_phase.parameters lora start at zero"
        yield "depth_phase.auto_rgn", f"{why}: set one of the two"
    yield from _of_the_loss(config)
    if config.regularization.stoch_norm and config.batch_norm == "frozen":
        why = "with batch_norm frozen no batch norm uses the statistics of a batch"
        yield "regularization.stoch_norm", f"{why}: set batch_norm to adapt, or this to 0"


def _of_the_loss(config: TrialConfig) -> Iterator[tuple[str, str]]:
    kind = config.loss.kind
    if kind == "cross_entropy":
        return
    for name in ("label_smoothing", "focal_gamma"):
        if getattr(config.loss, name):
            yield f"loss.{name}", f"it changes the cross-entropy, and loss.kind is {kind}: set one of the two"
    if kind != "expected_grade" and config.head_phase.init == "linear_probe":
        why = f"a linear probe has one score for each grade, and loss.kind {kind} reads the outputs otherwise"
        yield "head_phase.init", f"{why}: set it to random"
