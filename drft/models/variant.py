"""How the network that weights were trained in may differ from timm's network of the same name."""

from typing import Literal

from pydantic import Field

from drft.config.sections import ConfigSection


class Variant(ConfigSection):
    """Differences from timm's network. A file of a whole model has them, since its tensors do not tell them."""

    batch_norm_eps: float | None = Field(None, gt=0, lt=1)
    """Eps of all batch norms; None for timm's."""

    global_pool: Literal["avg"] | None = None
    """``avg``: the classifier of a ViT sees the mean of the patches, normalized after it; None for timm's pooling."""
