"""Files of vision transformers by MAE's code: with decoders, global pooling, and position embeddings of other sizes."""

from pathlib import Path

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn

from drft.config.trial_config import TrialConfig, parse_config
from drft.errors import WeightsError
from drft.models.backbone import Model, build_model
from drft.models.blocks import list_blocks, trained_names
from drft.models.checkpoint import load_checkpoint, save_model

NAME = "vit_tiny_patch16_224"
POOLED = {"global_pool": "avg"}
DECODER = {"mask_token": torch.ones(1, 1, 8), "decoder_pos_embed": torch.ones(1, 197, 8),
           "decoder_blocks.0.norm1.weight": torch.ones(8), "decoder_norm.weight": torch.ones(8)}  # fmt: skip


def network(size: int = 64, **options) -> nn.Module:
    torch.manual_seed(7)
    net = timm.create_model(NAME, img_size=size, num_classes=3, **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return net.eval()


def configuration(path: Path, size: int = 64, name: str = NAME) -> TrialConfig:
    return parse_config({"backbone": {"name": name, "weights": str(path)}, "image_size": size})


def build(tmp_path: Path, state: dict[str, torch.Tensor], size: int = 64, name: str = NAME) -> Model:
    torch.save({"model": state, "epoch": 3, "args": None}, tmp_path / "vit.pth")
    return build_model(configuration(tmp_path / "vit.pth", size, name), 3)


def assert_equal_features(model: Model, net: nn.Module, size: int = 64) -> None:
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(images), pre_logits=True)
        found = model.net.eval().forward_head(model.net.forward_features(images), pre_logits=True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [64, 96, 224])
def test_position_embeddings_of_the_size_that_is_used_are_taken_as_they_are(tmp_path, size):
    net = network(size)
    assert_equal_features(build(tmp_path, net.state_dict(), size), net, size)


@pytest.mark.parametrize("stored", [64, 160])
def test_position_embeddings_of_another_size_are_resampled_once(tmp_path, stored):
    state = network(stored).state_dict()
    expected = resample_abs_pos_embed(state["pos_embed"], [6, 6], num_prefix_tokens=1)
    assert torch.equal(build(tmp_path, state, 96).pretrained["pos_embed"], expected)


def test_the_decoder_of_a_pretraining_is_left_out(tmp_path):
    net = network()
    model = build(tmp_path, {**net.state_dict(), **DECODER})
    assert_equal_features(model, net)
    assert model.mean == (0.485, 0.456, 0.406)  # MAE's; timm has 0.5
    assert model.pretrained.keys() == net.state_dict().keys()


def test_a_fine_tuned_vit_with_global_pooling_pools_as_it_did(tmp_path):
    net = network(**POOLED)
    model = build(tmp_path, {f"module.{name}": tensor for name, tensor in net.state_dict().items()})
    assert "fc_norm.weight" in model.pretrained
    assert_equal_features(model, net)
    assert len(model.blocks) == len(list_blocks(network()))
    assert {"fc_norm.weight", "blocks.11.norm1.weight"} <= trained_names(model.net, 1)


def test_a_saved_model_keeps_its_pooling(tmp_path):
    model = build(tmp_path, network(**POOLED).state_dict())
    save_model(tmp_path / "model.safetensors", model, configuration(tmp_path / "vit.pth"), 3)
    (tmp_path / "vit.pth").unlink()
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
    assert_equal_features(loaded, model.net)


def without(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in state.items() if key != name}


def both_norms(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**state, "fc_norm.weight": torch.ones(192), "fc_norm.bias": torch.ones(192)}


REFUSED = {
    "both norm and fc_norm": both_norms,
    "position embeddings of shape": lambda state: {**state, "pos_embed": torch.ones(1, 16, 192)},
    r"first that does not: norm\.weight": lambda state: without(state, "norm.weight"),
    r"first that does not: pos_embed": lambda state: without(state, "pos_embed"),
    r"first that does not: blocks\.3\.attn\.qkv\.bias": lambda state: without(state, "blocks.3.attn.qkv.bias"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_network_of_timm_computes_is_refused_in_one_line(tmp_path, message):
    with pytest.raises(WeightsError, match=message) as refusal:
        build(tmp_path, REFUSED[message](network(224).state_dict()))
    assert str(refusal.value).startswith(f"{tmp_path / 'vit.pth'}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("backbone", ["resnet18", "vit_small_patch16_224"])
def test_other_backbones_are_refused_with_the_name_of_the_vit(tmp_path, backbone):
    with pytest.raises(WeightsError, match=f"not of {backbone}: use --backbone {NAME}"):
        build(tmp_path, {**network().state_dict(), **DECODER}, name=backbone)
