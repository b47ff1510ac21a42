import logging

import pytest
import timm
import torch
from torch import Tensor, nn

from drft.config.trial_config import parse_config
from drft.feature_cache.fuse_batch_norm import fold_batch_norms
from drft.feature_cache.split_model import SplitModel, split_model
from drft.models.backbone import HeadDropout, build_model
from drft.models.blocks import set_trainable, train_mode, trained_names

REAL_MODELS = [
    "resnet18",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "densenet121",
    "regnety_002",
    "csatv2",
    "deit_tiny_distilled_patch16_224",
    "levit_128s",
    "pit_ti_distilled_224",
    "poolformer_s12",
    "swiftformer_xs",
]

SIZE = 64


def network(name: str, dropout: float = 0.0) -> nn.Module:
    values = {"backbone": {"name": name, "weights": "none"}, "image_size": SIZE, "dropout": dropout}
    return build_model(parse_config(values)).net.eval()


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [*timm.list_models("test_*"), *REAL_MODELS])
def test_every_depth_of_these_families_has_a_boundary_and_the_right_suffix(name):
    net = network(name)
    split = split_model(net, SIZE)
    assert split.cuts == tuple(range(split.block_count, -1, -1))
    assert split.fault_summary == ""
    with torch.no_grad():
        expected = net(images())
        for depth, activations in split.advance((images(),), None, split.cuts).items():
            torch.testing.assert_close(split.suffix(depth, activations), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_one_pass_equals_separate_passes_from_any_start(name):
    split = split_model(network(name), SIZE)
    together = split.advance((images(),), None, split.cuts)
    deepest = split.cuts[0]
    for depth in split.cuts:
        for alone in (
            split.advance((images(),), None, [depth])[depth],
            split.advance(together[deepest], deepest, [depth])[depth],
        ):
            assert len(alone) == len(together[depth])
            assert all(map(torch.equal, alone, together[depth]))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_byobnet"])
@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
@pytest.mark.parametrize("transform", [None, fold_batch_norms])
def test_a_suffix_trains_like_the_network(name, batch_norm, transform):
    net = network(name)
    split = split_model(net, SIZE, transform)
    depth = split.block_count // 2
    buffers = {key: buffer.clone() for key, buffer in net.named_buffers()}
    results, expected = [], []
    for gradients, forward in (
        (expected, lambda: net(images(4))),
        (results, lambda: split.suffix(depth, split.advance((images(4),), None, [depth])[depth])),
    ):
        net.load_state_dict(buffers, strict=False)
        set_trainable(net, depth)
        train_mode(net, depth, batch_norm)
        net.zero_grad(set_to_none=True)
        forward().square().sum().backward()
        gradients += [(key, parameter.grad) for key, parameter in net.named_parameters()]
        gradients += [(key, buffer.clone()) for key, buffer in net.named_buffers()]
    trained = trained_names(net, depth)
    for (key, gradient), (_, wanted) in zip(results, expected, strict=True):
        assert (gradient is None) == (wanted is None)
        assert gradient is not None or key not in trained
        if wanted is not None:
            scale = float(wanted.abs().max())
            torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-4 * scale + 1e-7)


def test_activations_at_a_boundary_have_no_gradients_and_are_not_changed():
    split = split_model(network("test_resnet"), SIZE)
    depth = 1
    given = (images(),)
    activations = split.advance(given, None, [depth])[depth]
    before = [tensor.clone() for tensor in activations]
    split.suffix(depth, activations)
    assert torch.equal(given[0], images())
    assert all(map(torch.equal, activations, before))
    assert not any(tensor.requires_grad for tensor in activations)


def test_splitting_does_not_change_the_network():
    net = network("test_efficientnet", dropout=0.5)
    set_trainable(net, 2)
    train_mode(net, 2)

    def state() -> tuple[object, ...]:
        modes = {name: module.training for name, module in net.named_modules()}
        return modes, {name: parameter.requires_grad for name, parameter in net.named_parameters()}

    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    before, random = state(), torch.get_rng_state()
    split_model(net, SIZE, fold_batch_norms)
    assert state() == before
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in net.state_dict().items())


def test_weights_that_are_loaded_later_are_used():
    net = network("test_resnet")
    split = split_model(net, SIZE, fold_batch_norms)
    split.advance((images(),), None, [0])
    net.load_state_dict({name: tensor * 0.9 for name, tensor in network("test_resnet").state_dict().items()})
    with torch.no_grad():
        torch.testing.assert_close(split.suffix(None, (images(),)), net(images()), rtol=1e-4, atol=1e-5)


@pytest.fixture
def split() -> SplitModel:
    return split_model(network("test_resnet"), SIZE)


def test_a_missing_boundary_is_named(split):
    with pytest.raises(ValueError, match=r"ResNet has no boundary at depth 99: choose one of \("):
        split.suffix(99, (images(),))


def test_a_stop_before_the_start_is_refused(split):
    activations = split.advance((images(),), None, [1])[1]
    with pytest.raises(ValueError, match="depth 3 lies before depth 1"):
        split.advance(activations, 1, [3])


# --- networks that are hard to cut


class Toy(nn.Module):
    """A network of three blocks and a classifier; its subclasses each have one difficulty."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)
        self.pretrained_cfg = {"input_size": (3, SIZE, SIZE), "classifier": "head"}

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        return {"stem": r"^stem", "blocks": [(r"^middle", (0,)), (r"^last", (1,))]}

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(self.stem(x)).mean((2, 3)))

    def features(self, x: Tensor) -> Tensor:
        return self.last(self.middle(x).relu()).relu()


class Shortcut(Toy):
    """The last block uses the activations of the stem."""

    def features(self, x: Tensor) -> Tensor:
        return self.last(self.middle(x).relu() + x) + x


class InPlace(Toy):
    """Blocks overwrite their inputs."""

    def features(self, x: Tensor) -> Tensor:
        x = self.middle(x)
        return self.last(x.relu_().add_(1.0)).mul_(2.0) + x


class AfterClassifier(Toy):
    """The logits are scaled."""

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * super().forward(x).tanh()


class DropsFirst(Toy):
    """A block begins with dropout, so operations before its parameters behave otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def features(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.middle(x)))


class Branches(Toy):
    """A branch depends on the values of a tensor."""

    def features(self, x: Tensor) -> Tensor:
        return self.last(self.middle(x)) if x.sum() > 0 else self.last(x)


class MixesRows(Toy):
    """Between its blocks, a row is a channel and not an image."""

    def __init__(self) -> None:
        super().__init__()
        self.middle_rows = nn.Linear(SIZE // 4, 8)
        self.last_rows = nn.Linear(8, 8)

    def features(self, x: Tensor) -> Tensor:
        rows = self.middle(x).flatten(0, 1)
        return self.last(self.last_rows(self.middle_rows(rows)).unflatten(0, (-1, 8)))


class TurnsRows(Toy):
    """Between its blocks, channels come first for a while."""

    def features(self, x: Tensor) -> Tensor:
        turned = self.middle(x).transpose(0, 1)
        return self.last(turned.transpose(0, 1))


@pytest.mark.parametrize("kind", [Toy, Shortcut, InPlace, AfterClassifier, TurnsRows])
def test_unusual_networks_are_cut_and_compute_the_same(kind):
    torch.manual_seed(0)
    net = kind().eval()
    split = split_model(net, SIZE)
    assert split.cuts == (3, 2, 1, 0)
    reached = split.advance((images(),), None, split.cuts)
    before = {depth: [tensor.clone() for tensor in activations] for depth, activations in reached.items()}
    for depth, activations in reached.items():
        torch.testing.assert_close(split.suffix(depth, activations), net(images()))
        assert all(map(torch.equal, activations, before[depth]))


@pytest.mark.parametrize("kind", [DropsFirst, Branches, MixesRows])
def test_boundaries_that_fail_are_dropped_with_a_warning(kind, caplog):
    torch.manual_seed(0)
    net = kind().eval()
    with caplog.at_level(logging.WARNING):
        split = split_model(net, SIZE)
    assert set(split.cuts) < {3, 2, 1, 0}
    assert split.fault_summary
    assert split.fault_summary in caplog.text
    for depth in (*split.cuts, None):
        torch.testing.assert_close(split.suffix(depth, _activations(split, depth)), net(images()))


class ClassifierOfSeveralModules(Toy):
    """The classifier has children; a tracer would trace through it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))


def test_hooks_of_a_classifier_with_children_keep_acting():
    net = ClassifierOfSeveralModules().eval()
    dropout = HeadDropout(net, 0.0)
    split = split_model(net, SIZE)
    activations = split.advance((images(),), None, [0])[0]
    assert torch.equal(split.suffix(0, activations), net(images()))
    dropout.rate = 0.5
    net.head.train()
    assert not torch.equal(split.suffix(0, activations), split.suffix(0, activations))


def _activations(split: SplitModel, depth: int | None) -> tuple[Tensor, ...]:
    return (images(),) if depth is None else split.advance((images(),), None, [depth])[depth]


@pytest.fixture(autouse=True)
def one_seed() -> None:
    torch.manual_seed(0)
