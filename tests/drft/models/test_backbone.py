import pytest
import safetensors.torch
import timm
import torch

from drft.config.trial_config import TrialConfig, parse_config
from drft.errors import BackboneError, WeightsError
from drft.models import weights as weights_module
from drft.models.backbone import block_count, build_model, describe_backbone
from drft.models.blocks import head_modules, head_names
from drft.models.weights import EMBEDDED_BACKBONE, EMBEDDED_FILE


def configuration(name: str = "test_resnet", weights: str = "none", **backbone) -> TrialConfig:
    return parse_config({"backbone": {"name": name, "weights": str(weights), **backbone}, "image_size": 64})


def saved_state(name: str = "test_resnet") -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return timm.create_model(name, num_classes=1000).state_dict()


def assert_has_weights(net: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    own, head = net.state_dict(), head_names(net)
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items() if name not in head)


def test_random_weights_follow_the_seed():
    first, again, other = (build_model(configuration(), seed=seed).pretrained for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc.weight"], other["fc.weight"])
    assert not torch.equal(first["layer1.0.conv1.weight"], other["layer1.0.conv1.weight"])


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_model(configuration())
    assert torch.equal(torch.rand(1), expected)


def test_head_has_the_wanted_classes_and_pretrained_is_a_copy():
    model = build_model(configuration(), classes=3)
    with torch.no_grad():
        assert model.net.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
        model.net.fc.weight.zero_()
    assert model.pretrained["fc.weight"].any()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_files_are_read_with_their_wrappers(tmp_path, wrapper, prefix):
    state = saved_state()
    named = {prefix + name: tensor for name, tensor in state.items()}
    path = tmp_path / "weights.pth"
    torch.save({wrapper: named, "epoch": 3} if wrapper else named, path)
    assert_has_weights(build_model(configuration(weights=path)).net, state)


def test_file_of_a_thousand_classes_leaves_the_new_head(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(saved_state(), path)
    model, random = build_model(configuration(weights=path)), build_model(configuration())
    assert torch.equal(model.pretrained["fc.weight"], random.pretrained["fc.weight"])
    assert_has_weights(build_model(configuration(weights=path), classes=1000).net, saved_state())


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_vit_relpos"])
def test_weights_of_another_input_size_are_resampled_where_necessary(tmp_path, name):
    if name == "test_vit_relpos" and not timm.is_model(name):
        pytest.skip("timm has this network from 1.0.31 on")
    state, path = saved_state(name), tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, path)
    own = build_model(configuration(name, path)).net.state_dict()
    head = head_names(timm.create_model(name))
    same = [key for key in own if key not in head and own[key].shape == state[key].shape]
    assert all(torch.equal(own[key], state[key]) for key in same)
    assert len(same) >= len(own) - len(head) - 1


def test_weights_of_another_model_are_refused_with_the_number_that_fits(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(saved_state("test_convnext"), path)
    with pytest.raises(WeightsError, match=r"weights of another model: 0 of \d+ tensors fit test_resnet.*--backbone"):
        build_model(configuration(weights=path))


def test_one_missing_tensor_is_enough_to_refuse(tmp_path):
    state, path = saved_state(), tmp_path / "weights.pth"
    del state["layer4.0.bn2.running_var"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"first that does not: layer4\.0\.bn2\.running_var"):
        build_model(configuration(weights=path))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 half a zip"])
def test_damaged_files_are_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged") as refusal:
        build_model(configuration(weights=path))
    assert "\n" not in str(refusal.value)


def test_pickles_that_run_code_are_not_run(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"run": eval}, path)
    with pytest.raises(WeightsError, match="damaged or not a weight file"):
        build_model(configuration(weights=path))


def test_file_without_tensors_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="holds no tensors"):
        build_model(configuration(weights=path))


def test_missing_file_names_the_options(tmp_path):
    with pytest.raises(WeightsError, match=r"no such weight file.*choose hub, none or a file \(--weights"):
        build_model(configuration(weights=tmp_path / "nowhere.pth"))


def test_a_file_in_the_home_of_an_unknown_user_is_missing():
    with pytest.raises(WeightsError, match=r"~nobody-of-this-name/x\.pth: no such weight file"):
        build_model(configuration(weights="~nobody-of-this-name/x.pth"))


def test_unreachable_hub_names_the_options(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"out of reach: choose none or a file \(--weights"):
        build_model(configuration(weights="hub"))


def test_a_hub_that_is_no_web_address_is_unreachable(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "ftp://example.org")
    assert not weights_module.hub_reachable()


def test_embedded_weights_belong_to_one_backbone():
    with pytest.raises(WeightsError, match=rf"only for {EMBEDDED_BACKBONE}"):
        build_model(configuration(weights="embedded"))


def test_embedded_weights_load_and_are_small():
    model = build_model(TrialConfig())
    assert EMBEDDED_FILE.stat().st_size <= 2_000_000
    assert model.mean == model.std == (0.5, 0.5, 0.5)
    assert_has_weights(model.net, {k: v.float() for k, v in safetensors.torch.load_file(EMBEDDED_FILE).items()})
    assert not torch.equal(
        model.pretrained["conv_stem.weight"],
        build_model(configuration(EMBEDDED_BACKBONE)).pretrained["conv_stem.weight"],
    )


@pytest.mark.parametrize(("normalization", "mean"), [("auto", 0.485), ("imagenet", 0.485), ("half", 0.5)])
def test_normalization_is_timms_unless_it_is_set(normalization, mean):
    assert build_model(configuration("test_byobnet", normalization=normalization)).mean[0] == mean


def test_normalization_comes_from_metadata_unless_it_is_set(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(saved_state(), path, {"mean": "[0.1, 0.2, 0.3]", "std": "[0.4, 0.5, 0.6]"})
    model = build_model(configuration(weights=path))
    assert (model.mean, model.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert build_model(configuration(weights=path, normalization="half")).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet81", "resnet18"),
        ("swin_tiny", "swin_tiny_patch4_window7_224"),
        ("resnet18.nonsense", "resnet18"),
    ],
)
def test_unknown_backbone_names_a_near_match(name, near):
    for function in (block_count, describe_backbone, lambda unknown: build_model(configuration(unknown))):
        with pytest.raises(BackboneError, match=rf"unknown backbone '{name}'.*{near}"):
            function(name)


def test_stochastic_depth_is_refused_by_backbones_without_it():
    with pytest.raises(BackboneError, match="densenet121"):
        build_model(configuration("densenet121", drop_path=0.1))


def test_freeze_map_needs_no_weights():
    assert block_count("resnet18") == 5
    assert describe_backbone("vit_tiny_patch16_224")[-1].name == "stem"


@pytest.mark.real
def test_real_weights_fit_their_backbone_and_no_other(real_weights):
    model = build_model(configuration("mobilenetv2_100", real_weights, normalization="half"))
    assert model.mean == (0.5, 0.5, 0.5)
    assert_has_weights(model.net, safetensors.torch.load_file(real_weights))
    with pytest.raises(WeightsError, match="weights of another model"):
        build_model(configuration("resnet18", real_weights))


def test_two_heads_are_drawn_by_the_seed_and_both_have_dropout():
    first, again, other = (
        build_model(configuration("deit_tiny_distilled_patch16_224"), seed=seed) for seed in (1, 1, 2)
    )
    for name in ("head.weight", "head_dist.weight"):
        assert torch.equal(first.pretrained[name], again.pretrained[name])
        assert not torch.equal(first.pretrained[name], other.pretrained[name])
    first.dropout.rate = 0.999999
    inputs = []
    for head in head_modules(first.net.train()):
        head.register_forward_pre_hook(lambda _head, args: inputs.append(args[0]))
    first.net(torch.randn(2, 3, 64, 64))
    assert [int(tensor.count_nonzero()) for tensor in inputs] == [0, 0]


def test_weights_of_a_model_with_two_heads_are_read(tmp_path):
    state, path = saved_state("swiftformer_xs"), tmp_path / "weights.pth"
    torch.save(state, path)
    assert_has_weights(build_model(configuration("swiftformer_xs", path), classes=3).net, state)
