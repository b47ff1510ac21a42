"""Weights of vision transformers by the code of MAE (He et al. 2022), such as RETFound (Zhou et al. 2023).

Files of a pretraining also hold a decoder, which is left out. In files of a fine-tuning with global pooling, the last
norm is ``fc_norm`` and follows the mean of the patches; timm builds this network with ``global_pool="avg"``. Position
embeddings may be those of another image size; timm resamples them for the size that is used
(``resample_abs_pos_embed``).
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from drft.errors import WeightsError
from drft.models.variant import Variant
from drft.models.weights import IMAGENET_NORMALIZATION, OPTIONS, WeightFile, fitting_states

_NORM = {"norm.weight", "norm.bias"}
_FC_NORM = {"fc_norm.weight", "fc_norm.bias"}
_SIZES = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large", (1280, 32): "huge"}
"""timm's names of the sizes, by width and number of blocks."""


def from_mae(
    file: WeightFile, backbone: str, net: nn.Module, expected: Mapping[str, Tensor]
) -> tuple[WeightFile, dict[str, Tensor]]:
    """Return a file for the variant of a ViT that its weights were trained in, and the tensors that this one needs.

    Both are returned unchanged where the file has no weights of a ViT by MAE's code, or timm's own network needs no
    change for them.

    Args:
        file: any weight file.
        backbone: name of the timm network.
        net: the timm network, on any device.
        expected: the tensors that the backbone needs, by their names.

    Raises:
        WeightsError: when the file holds a ViT that timm's network cannot be made equal to.
    """
    body = {name: tensor for name, tensor in expected.items() if name not in {"pos_embed", *_NORM}}
    states = [state for _, state in fitting_states(file, body) if "pos_embed" in state]
    if not (isinstance(net, VisionTransformer) and {"cls_token", "pos_embed", *_NORM} <= expected.keys() and states):
        usual = next(_vit_names(file), None)
        if usual not in {None, backbone.partition(".")[0]} and not fitting_states(file, expected):
            raise WeightsError(
                f"{file.path}: weights of a ViT, and not of {backbone}: use --backbone {usual}, or {OPTIONS}"
            )
        return file, dict(expected)
    first = states[0]
    if first.keys() >= _FC_NORM | _NORM:
        raise WeightsError(f"{file.path}: a ViT with both norm and fc_norm, and {backbone} has one of them: {OPTIONS}")
    embeddings, prefix = first["pos_embed"], 0 if net.no_embed_class else net.num_prefix_tokens
    side = math.isqrt(max(embeddings.shape[1] - prefix, 0)) if embeddings.ndim == 3 else 0
    if embeddings.shape != (1, prefix + side**2, net.embed_dim) or not side:
        raise WeightsError(
            f"{file.path}: position embeddings of shape {tuple(embeddings.shape)} are those of no square image with "
            f"a class token, as {backbone} needs: {OPTIONS}"
        )
    needed = {**body, "pos_embed": torch.empty(embeddings.shape, device="meta")}
    pooled = first.keys() >= _FC_NORM
    needed |= {f"fc_{name}" if pooled else name: expected[name] for name in sorted(_NORM)}
    if pooled or any(name.startswith("decoder") for name in first):
        metadata = file.metadata if {"mean", "std"} & file.metadata.keys() else IMAGENET_NORMALIZATION
        file = dataclasses.replace(file, metadata=metadata)
    return dataclasses.replace(file, variant=Variant(global_pool="avg" if pooled else None)), needed


def _vit_names(file: WeightFile) -> Iterator[str]:
    """Yield timm's names of the usual ViTs by MAE's code in a file."""
    for state in file.states.values():
        named = {re.sub(r"^(?:module|model|encoder|backbone)\.", "", name): tensor for name, tensor in state.items()}
        patches = named.get("patch_embed.proj.weight")
        blocks = {match[1] for name in named if (match := re.match(r"blocks\.(\d+)\.attn\.qkv\.bias", name))}
        # decoder or fc_norm: other ViTs (DINO, BEiT, EVA) have the same names with another meaning
        if patches is not None and patches.ndim == 4 and (_FC_NORM & named.keys() or "decoder_pos_embed" in named):
            size = _SIZES.get((patches.shape[0], len(blocks)))
            if size:
                yield f"vit_{size}_patch{patches.shape[-1]}_224"
