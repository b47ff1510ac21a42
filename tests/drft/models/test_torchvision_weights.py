"""Files with the weights of torchvision's networks: read by equal timm networks, refused by all others."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from drft.config.trial_config import parse_config
from drft.errors import WeightsError
from drft.models.backbone import Model, build_model
from drft.models.blocks import head_modules
from drft.models.checkpoint import load_checkpoint, save_model
from drft.models.torchvision_weights import TIMM_NAMES

FAMILIES = {  # small members of each; torchvision's eps where timm's is another
    "convnext_tiny": None,
    "densenet121": None,
    "efficientnet_b0": None,
    "efficientnet_v2_s": 0.001,
    "mobilenet_v2": None,
    "mobilenet_v3_large": 0.001,
    "mobilenet_v3_small": 0.001,
    "regnet_x_400mf": None,
    "regnet_y_400mf": None,
    "regnet_y_800mf": None,
    "resnet18": None,
    "swin_t": None,
    "vit_b_32": None,
}
LARGE = {"convnext_tiny", "efficientnet_v2_s", "swin_t", "vgg11_bn", "vit_b_32"}

PUBLISHED = {  # names in torchvision's own files that its networks no longer have
    "densenet121": [("norm1.", "norm.1."), ("norm2.", "norm.2."), ("conv1.", "conv.1."), ("conv2.", "conv.2.")],
    "vit_b_32": [("mlp.0.", "mlp.linear_1."), ("mlp.3.", "mlp.linear_2.")],
}


def network(name: str, classes: int = 7) -> nn.Module:
    """Return a torchvision network with random numbers in every tensor, also where initial ones are 0 or 1."""
    torch.manual_seed(7)
    net = torchvision.models.get_model(name, weights=None, num_classes=classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # smaller values fade from layer to layer
    for key, tensor in net.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point() and (tensor.ndim <= 1 or key.endswith(("token", "embedding", "layer_scale"))):
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return net.eval()


def saved(path: Path, name: str) -> Path:
    torch.save(network(name).state_dict(), path)
    return path


def build(name: str, path: Path, size: int = 64, **backbone) -> Model:
    return build_model(
        parse_config({"backbone": {"name": name, "weights": str(path), **backbone}, "image_size": size}), 7
    )


def features(net: nn.Module, head: nn.Module, images: torch.Tensor) -> torch.Tensor:
    found = []
    handle = head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].flatten(1)))
    with torch.no_grad():
        net.eval()(images)
    handle.remove()
    return found[0]


def assert_equal_outputs(theirs: nn.Module, ours: nn.Module, size: int) -> None:
    classifier = [module for module in theirs.modules() if isinstance(module, nn.Linear)][-1]
    images = torch.randn(2, 3, size, size)
    expected = features(theirs.double(), classifier, images.double())
    found = features(ours.double(), head_modules(ours)[0], images.double())
    assert expected.std(0).mean() > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in FAMILIES]
)
def test_a_network_with_torchvisions_weights_computes_what_torchvision_does(tmp_path, name):
    theirs = network(name)
    state = theirs.state_dict()
    for new, old in PUBLISHED.get(name, []):
        state = {key.replace(new, old): tensor for key, tensor in state.items()}
    torch.save(state, tmp_path / "weights.pth")
    size = 224 if name.startswith(("vit", "swin")) else 64
    model = build(TIMM_NAMES[name], tmp_path / "weights.pth", size)
    assert model.variant.batch_norm_eps == FAMILIES[name]
    assert model.mean == (0.485, 0.456, 0.406)  # timm has 0.5 for ViT
    assert_equal_outputs(theirs, model.net, size)


def test_weights_of_parallel_training_are_found(tmp_path):
    theirs = network("mobilenet_v2")
    state = {f"module.{key}": tensor for key, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pth")
    assert_equal_outputs(theirs, build("mobilenetv2_100", tmp_path / "weights.pth").net, 64)


REFUSED = {
    ("mobilenet_v2", "resnet18"): r"layers are not those of resnet18: use --backbone mobilenetv2_100, or choose hub",
    ("resnet18", "resnet34"): "layers are not those of resnet34: use --backbone resnet18",
    ("mobilenet_v3_small", "tf_mobilenetv3_small_100"): r"differ by .* use --backbone mobilenetv3_small_100",
    ("shufflenet_v2_x0_5", "resnet18"): "layers are not those of resnet18: choose hub, none or a file",
}


@pytest.mark.parametrize(("name", "backbone"), REFUSED)
def test_other_backbones_are_refused_with_the_name_of_the_one_that_fits(tmp_path, name, backbone):
    path = saved(tmp_path / "weights.pth", name)
    with pytest.raises(WeightsError, match=f"weights of torchvision's {name}, whose .*{REFUSED[name, backbone]}") as no:
        build(backbone, path)
    assert str(no.value).startswith(f"{path}: ")
    assert "\n" not in str(no.value)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    state = network("mobilenet_v2").state_dict()
    state["features.0.0.weight"][0] = torch.nan
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"conv_stem\.weight has values that are NaN"):
        build("mobilenetv2_100", tmp_path / "weights.pth")


def test_a_saved_model_keeps_the_eps_of_its_batch_norms(tmp_path):
    path = saved(tmp_path / "weights.pth", "mobilenet_v3_small")
    model = build("mobilenetv3_small_100", path)
    config = parse_config({"backbone": {"name": "mobilenetv3_small_100", "weights": str(path)}, "image_size": 64})
    save_model(tmp_path / "model.safetensors", model, config, 7)
    path.unlink()
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.net.eval()(images), model.net.eval()(images))
    assert loaded.variant == model.variant
