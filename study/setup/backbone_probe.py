"""Look up and build backbones in another process, since this one should not import torch and timm.

These imports take seconds. The functions of this module that need them import them in their bodies.
"""

from collections.abc import Sequence
from typing import Any

from drft.config.trial_config import TrialConfig
from drft.errors import BackboneError, one_line
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

    def check(self, config: TrialConfig, classes: int, image_size: int | None = None) -> None:
        """Build the model of a configuration, with so many classes, and run it on two images if it is one of timm's.

        Args:
            config: of the model.
            classes: number of its outputs.
            image_size: the smallest image size of the trainings, in pixels; None runs no images.

        Raises:
            BackboneError: when the backbone does not exist, or does not support these settings or images of this size.
            WeightsError: when its weights cannot be loaded or do not fit.
        """
        self.call(_build, config, classes, image_size)


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


def _build(config: TrialConfig, classes: int, image_size: int | None) -> None:
    import torch  # noqa: PLC0415

    from drft.models.backbone import build_model  # noqa: PLC0415 (imports torch)

    if image_size is None or config.backbone.is_function:  # one's own network may need a GPU, which is hidden here
        build_model(config, classes)
        return
    net = build_model(config.model_copy(update={"image_size": image_size}), classes).net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(2, 3, image_size, image_size))
    except Exception as error:  # the code of a network may fail in any way
        raise BackboneError(
            f"backbone {config.backbone.name} cannot be used with images of {image_size} pixels "
            f"({one_line(error)}): choose another image size, or another backbone"
        ) from error
