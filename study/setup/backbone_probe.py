"""Look up and build backbones in another process, since this one should not import torch and timm.

These imports take seconds. The functions of this module that need them import them in their bodies.
"""

from collections.abc import Sequence
from typing import Any

from drft.config.trial_config import TrialConfig
from study.setup.torch_process import TorchProcess

Block = dict[str, Any]
"""Index (0 is the stem), name, number of parameters, and trainable fraction at the depth that reaches the block."""


class BackboneProbe(TorchProcess):
    """Looks up and builds backbones, in a process that ends with the ``with`` block."""

    def __init__(self) -> None:
        super().__init__("drft-probe", "checks backbones", {"CUDA_VISIBLE_DEVICES": ""})

    def blocks(self, backbone: str) -> Sequence[Block]:
        """Return the blocks of a backbone, stem first.

        Raises:
            BackboneError: when timm has no such model or it cannot be frozen block by block.
        """
        return self.call(_blocks, backbone)

    def check(self, config: TrialConfig, classes: int) -> None:
        """Build the model of a configuration, with so many classes.

        Raises:
            BackboneError: when the backbone does not exist or does not support these settings.
            WeightsError: when its weights cannot be loaded or do not fit.
        """
        self.call(_build, config, classes)


def _blocks(backbone: str) -> list[Block]:
    from drft.models.backbone import describe_backbone  # noqa: PLC0415 (imports torch)

    rows = describe_backbone(backbone)
    return [
        {
            "index": len(rows) - row.depth,
            "name": row.name,
            "parameters": row.parameters,
            "trainable_fraction": row.trainable_fraction,
        }
        for row in reversed(rows)
    ]


def _build(config: TrialConfig, classes: int) -> None:
    from drft.models.backbone import build_model  # noqa: PLC0415 (imports torch)

    build_model(config, classes)
