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
from drft.models.boundary import Chain, make_chain

__all__ = [
    "Block",
    "Chain",
    "FreezeRow",
    "Model",
    "block_count",
    "build_model",
    "describe_backbone",
    "freeze_map",
    "list_blocks",
    "make_chain",
    "set_trainable",
    "train_mode",
    "trainable_fraction",
    "trained_names",
]
