import importlib.metadata

import pytest
import timm
import torch
from torch import nn

from drft.errors import BackboneError
from drft.models.blocks import (
    freeze_map,
    head_modules,
    head_names,
    list_blocks,
    set_trainable,
    train_mode,
    trainable_fraction,
    trained_names,
)

TEST_MODELS = timm.list_models("test_*")
REAL_MODELS = {
    "resnet18": 5,
    "mobilenetv2_100": 8,
    "mobilenetv3_small_100": 8,
    "mobilenetv3_small_050": 8,
    "efficientnet_b0": 8,
    "convnext_atto": 5,
    "vit_tiny_patch16_224": 13,
    "swin_tiny_patch4_window7_224": 5,
    "densenet121": 5,
    "regnety_002": 5,
}
TWO_HEADS = {
    "deit_tiny_distilled_patch16_224", "efficientformer_l1", "efficientformerv2_s0", "levit_128s",
    "pit_ti_distilled_224", "swiftformer_xs",
}  # fmt: skip
UNUSUAL_MODELS = {  # two heads, or no coarse layer groups in timm
    "deit_tiny_distilled_patch16_224": 13,
    "efficientformer_l1": 5,
    "efficientformerv2_s0": 5,
    "levit_128s": 4,
    "pit_ti_distilled_224": 4,
    "swiftformer_xs": 5,
    "caformer_s18": 5,
    "csatv2": 5,
    "pit_xs_224": 4,
    "poolformer_s12": 5,
    "rdnet_tiny": 8,
}
REFUSED_FAMILIES: dict[str, str] = {}  # messages by timm's modules; a new version of timm may bring some


def skeleton(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=5)


def real_model(name: str, size: int) -> nn.Module:
    torch.manual_seed(0)
    fixed = timm.get_pretrained_cfg_value(name, "fixed_input_size")
    return timm.create_model(name, num_classes=5, drop_rate=0.1, **({"img_size": size} if fixed else {}))


def optimizer_step(model: nn.Module, depth: int, batch_norm: str, size: int) -> set[str]:
    """Make one optimizer step and return the names of all tensors that changed."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    set_trainable(model, depth)
    train_mode(model, depth, batch_norm)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    nn.functional.cross_entropy(model(images), torch.arange(4)).backward()
    with torch.no_grad():  # a gradient may be zero, by chance or because of another layer with weights of zero
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = parameter.grad + 1e-3
    optimizer.step()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def buffers_of(model: nn.Module, names: set[str]) -> set[str]:
    """Return the buffers of the modules that have these parameters."""
    owners = {name.rpartition(".")[0] for name in names}
    return {name for name, _ in model.named_buffers() if name.rpartition(".")[0] in owners}


def assert_only_trained_blocks_change(model: nn.Module, depth: int, size: int) -> None:
    trained = trained_names(model, depth)
    changed = optimizer_step(model, depth, "adapt", size)
    assert changed >= trained
    assert changed - trained <= buffers_of(model, trained)
    statistics = {name for name in buffers_of(model, trained) if name.endswith("running_mean")}
    assert statistics <= changed


@pytest.mark.parametrize("name", TEST_MODELS)
def test_exactly_the_trained_blocks_of_every_timm_test_model_change(name):
    model = real_model(name, 64)
    blocks = len(list_blocks(model))
    for depth in (0, 1, blocks // 2, blocks):
        assert_only_trained_blocks_change(model, depth, 64)


@pytest.mark.parametrize("name", TEST_MODELS)
def test_frozen_batch_norm_keeps_all_backbone_statistics(name):
    model = real_model(name, 64)
    changed = optimizer_step(model, len(list_blocks(model)), "frozen", 64)
    assert changed == trained_names(model, len(list_blocks(model)))


@pytest.mark.parametrize("name", REAL_MODELS)
def test_exactly_the_trained_blocks_of_real_backbones_change(name):
    assert_only_trained_blocks_change(real_model(name, 64), 2, 64)


@pytest.mark.parametrize(("name", "blocks"), REAL_MODELS.items())
def test_every_parameter_is_in_one_block_or_the_head(name, blocks):
    model = skeleton(name)
    listed = [parameter for block in list_blocks(model) for parameter in block.parameters]
    assert len(list_blocks(model)) == blocks
    assert sorted([*listed, *head_names(model)]) == sorted(name for name, _ in model.named_parameters())


def test_blocks_have_readable_names_from_the_stem_on():
    names = [block.name for block in list_blocks(skeleton("mobilenetv3_small_100"))]
    assert names == ["stem", *(f"blocks.{index}" for index in range(6)), "conv_head"]
    assert [block.name for block in list_blocks(skeleton("resnet18"))] == [
        "stem",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
    ]
    assert list_blocks(skeleton("densenet121"))[-1].name == "features.denseblock4"


def test_final_norm_belongs_to_the_last_block_and_tokens_to_the_stem():
    blocks = list_blocks(skeleton("vit_tiny_patch16_224"))
    assert {"cls_token", "pos_embed"} <= set(blocks[0].parameters)
    assert {"norm.weight", "norm.bias"} <= set(blocks[-1].parameters)
    assert "features.norm5.weight" in list_blocks(skeleton("densenet121"))[-1].parameters


def test_depth_beyond_the_blocks_is_refused():
    model = skeleton("resnet18")
    for function in (set_trainable, train_mode, trainable_fraction, trained_names):
        with pytest.raises(BackboneError, match=r"depth 6: resnet18 has 5 blocks, choose 0 to 5"):
            function(model, 6)
    with pytest.raises(BackboneError, match="depth -1"):
        set_trainable(model, -1)


@pytest.mark.parametrize(("name", "blocks"), UNUSUAL_MODELS.items())
def test_models_with_two_heads_or_without_groups_have_blocks(name, blocks):
    if name == "levit_128s" and importlib.metadata.version("timm") == "1.0.30":
        pytest.skip("this version of timm puts all layers of levit into one group")
    model = skeleton(name)
    listed = [parameter for block in list_blocks(model) for parameter in block.parameters]
    names = {name for name, _ in model.named_parameters()}
    assert len(list_blocks(model)) == blocks
    assert sorted([*listed, *(head_names(model) & names)]) == sorted(names)
    assert len(head_modules(model)) == len(TWO_HEADS & {name}) + 1


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "poolformer_s12", "swiftformer_xs"])
def test_exactly_the_trained_blocks_of_unusual_models_change(name):
    assert_only_trained_blocks_change(real_model(name, 64), 2, 64)


@pytest.mark.parametrize("training", [False, True])
def test_the_output_of_two_heads_is_their_mean(training):
    model = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=5, img_size=64).train(training)
    found = []
    for head in head_modules(model):
        head.register_forward_hook(lambda _head, _inputs, output: found.append(output))
    output = model(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(output, (found[0] + found[1]) / 2)


def test_a_model_without_groups_has_the_stages_of_its_features():
    assert [block.name for block in list_blocks(skeleton("poolformer_s12"))][1:] == [f"stages.{i}" for i in range(4)]
    assert "head.norm.weight" in list_blocks(skeleton("poolformer_s12"))[-1].parameters
    pit = list_blocks(skeleton("pit_xs_224"))
    assert {"pos_embed", "cls_token"} <= set(pit[0].parameters)
    assert "norm.weight" in pit[-1].parameters


@pytest.mark.slow
def test_every_family_of_timm_has_blocks_except_those_named_here():
    refused = {}
    for family in timm.list_modules():
        name = min(timm.list_models(module=family), key=lambda name: (len(name), name))
        try:
            assert len(list_blocks(skeleton(name))) > 2
        except BackboneError as error:
            refused[family] = str(error)
    assert refused == REFUSED_FAMILIES


def test_networks_without_classifier_or_without_other_layers_are_refused():
    with pytest.raises(BackboneError, match="no classifier"):
        list_blocks(nn.Conv2d(3, 2, 1))
    with pytest.raises(BackboneError, match="no layers before its classifier"):
        list_blocks(nn.Linear(2, 2))


def test_fractions_grow_with_depth_from_nothing_to_all():
    model = skeleton("efficientnet_b0")
    fractions = [trainable_fraction(model, depth) for depth in range(len(list_blocks(model)) + 1)]
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert [row.trainable_fraction for row in freeze_map(model)] == pytest.approx(fractions[1:])


def test_freeze_map_names_the_block_that_each_depth_adds():
    rows = freeze_map(skeleton("resnet18"))
    assert [(row.depth, row.name) for row in rows][:2] == [(1, "layer4"), (2, "layer3")]
    assert sum(row.parameters for row in rows) == 11_176_512


def test_modules_without_parameters_have_the_mode_of_their_block():
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, drop_rate=0.5, drop_path_rate=0.2, img_size=64)
    train_mode(model, 2)
    assert not model.pos_drop.training
    assert not model.blocks[9].drop_path1.training
    assert model.blocks[10].drop_path1.training
    assert model.head_drop.training
    assert all(head.training for head in head_modules(model))


def test_frozen_network_with_dropout_is_deterministic_before_the_head():
    model = timm.create_model("test_vit", num_classes=5, proj_drop_rate=0.5, img_size=64)
    train_mode(model, 0)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.forward_features(images), model.forward_features(images))


def test_train_mode_can_be_changed_from_deep_to_shallow():
    model = skeleton("resnet18")
    train_mode(model, 5)
    train_mode(model, 1)
    assert not model.layer3[0].bn1.training
    assert model.layer4[0].bn1.training
    assert not model.bn1.training
