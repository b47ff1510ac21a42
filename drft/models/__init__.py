"""Backbones and their blocks: what is frozen, what is trained, and where the network splits."""

from drft.models.backbone import Model, block_count, build_model, describe_backbone
from drft.models.blocks import (
    Block,
    FreezeRow,
    freeze_map,
    list_blocks,
    set_trainable,
    train_mode,
    trainable_fraction,
    trained_names,
)
from drft.models.boundary import Boundary, split

__all__ = [
    "Block",
    "Boundary",
    "FreezeRow",
    "Model",
    "block_count",
    "build_model",
    "describe_backbone",
    "freeze_map",
    "list_blocks",
    "set_trainable",
    "split",
    "train_mode",
    "trainable_fraction",
    "trained_names",
]
