"""Backbones and their blocks: what is frozen and what is trained."""

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

__all__ = [
    "Block",
    "FreezeRow",
    "Model",
    "block_count",
    "build_model",
    "describe_backbone",
    "freeze_map",
    "list_blocks",
    "set_trainable",
    "train_mode",
    "trainable_fraction",
    "trained_names",
]
