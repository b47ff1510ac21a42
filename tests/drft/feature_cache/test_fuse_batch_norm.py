import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from drft.feature_cache.fuse_batch_norm import FusedConv, _has_fused_kernel, fold_batch_norms

ACTIVATIONS = [nn.Identity, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU]


class ConvNorm(nn.Sequential):
    """A convolution, its batch norm and an activation, with statistics and weights that are not the defaults."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels), activation)
        norm = self[1]
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.2, 3)
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.uniform_(norm.bias, -1, 1)
        self.eval()


def folded(net: nn.Module) -> fx.GraphModule:
    return fold_batch_norms(fx.symbolic_trace(net))


def count_folded(traced: nn.Module) -> int:
    return sum(isinstance(module, FusedConv) for module in traced.modules())


@st.composite
def cases(draw: st.DrawFn) -> tuple[ConvNorm, Tensor]:
    groups = draw(st.integers(1, 3))
    kernel = draw(st.sampled_from([1, 3, 5]))
    torch.manual_seed(draw(st.integers(0, 99)))
    conv = nn.Conv2d(
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 3)),
        kernel,
        # Strided pointwise convolutions with so few channels are not folded, see drft.models.strided_conv.
        stride=draw(st.integers(1, 2)) if kernel > 1 else 1,
        padding=draw(st.integers(0, kernel // 2)),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
    )
    net = ConvNorm(conv, draw(st.sampled_from(ACTIVATIONS))())
    side = draw(st.integers(max(5, conv.dilation[0] * (kernel - 1) + 1), 12))
    images = torch.randn(draw(st.integers(1, 3)), conv.in_channels, side, side)
    if draw(st.booleans()):
        images = images.contiguous(memory_format=torch.channels_last)
    return net, images


def run(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return the output and every gradient of one forward and backward pass, by name."""
    images = images.clone().requires_grad_()
    net.zero_grad(set_to_none=True)
    output = net(images)
    weighting = torch.linspace(0.5, 1.5, output.numel()).view_as(output)
    (output * weighting).sum().backward()
    tensors = {"output": output.detach(), "images": images.grad}
    # A folded network holds every module under two names; parameters() returns each parameter once.
    return tensors | {f"gradient {index}": parameter.grad for index, parameter in enumerate(net.parameters())}


@given(cases())
def test_outputs_and_gradients_equal_those_before_folding(case):
    net, images = case
    other = folded(copy.deepcopy(net))
    assert count_folded(other) == 1
    with torch.no_grad():
        torch.testing.assert_close(other(images), net(images), rtol=1e-4, atol=1e-5)
    expected, folded_results = run(net, images), run(other, images)
    assert folded_results.keys() == expected.keys()
    # The largest value of all is the scale: the terms of a single gradient may cancel to less than their rounding.
    scale = max(float(wanted.abs().max()) for wanted in expected.values())
    for name, wanted in expected.items():
        torch.testing.assert_close(folded_results[name], wanted, rtol=1e-3, atol=1e-5 * scale + 1e-6, msg=name)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_statistics_of_the_batch_are_used_and_updated_in_training(activation):
    net = ConvNorm(nn.Conv2d(3, 4, 3), activation())
    other = folded(copy.deepcopy(net))
    net.train()
    other.train()
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(other(images), net(images))
    for buffer, expected in zip(other.buffers(), net.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected)


def test_an_optimizer_step_changes_the_next_evaluation():
    net = ConvNorm(nn.Conv2d(3, 4, 3), nn.ReLU())
    other = folded(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    images = torch.randn(2, 3, 8, 8)
    for _ in range(3):
        other(images).sum().backward()
        optimizer.step()
        with torch.no_grad():
            torch.testing.assert_close(other(images), net(images), rtol=1e-4, atol=1e-5)


def test_loaded_weights_are_used_though_all_tensors_are_frozen():
    net = ConvNorm(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
    other = folded(net)
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        before = other(images)
        net.load_state_dict(ConvNorm(nn.Conv2d(3, 4, 3), nn.ReLU()).state_dict())
        assert not torch.allclose(other(images), before)
        torch.testing.assert_close(other(images), net(images), rtol=1e-4, atol=1e-5)


def test_updated_statistics_are_used_though_all_parameters_are_frozen():
    net = ConvNorm(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
    other = folded(net)
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        before = other(images)
        other.train()(images)
        other.eval()
        assert not torch.allclose(other(images), before)
        torch.testing.assert_close(other(images), net(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "groups", "stride"), [(4, 1, 1), (8, 8, 1), (8, 8, 2)])
def test_bfloat16_stays_near_float32(channels, groups, stride):
    # A smooth activation: the gradient of ReLU6 jumps where rounding carries a value across its corner.
    net = ConvNorm(nn.Conv2d(channels, 8, 3, stride, padding=1, groups=groups), nn.SiLU())
    other, images = folded(copy.deepcopy(net)), torch.randn(4, channels, 16, 16)
    expected = run(net, images)
    with torch.autocast("cpu", torch.bfloat16):
        results = run(other, images)
    assert results["output"].dtype == torch.bfloat16
    for name, wanted in expected.items():
        assert torch.linalg.vector_norm(results[name].float() - wanted) < 0.05 * torch.linalg.vector_norm(wanted), name


class ReadTwice(nn.Module):
    """The norm is not the only user of the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        convolved = self.conv(images)
        return self.norm(convolved) + convolved


class ScaledConv(nn.Conv2d):
    """A subclass of torch's convolution."""

    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


@pytest.mark.parametrize(
    "net",
    [
        ReadTwice(),
        nn.Sequential(ScaledConv(3, 4, 3), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    ],
    ids=lambda net: type(net).__name__,
)
def test_other_convolutions_are_not_folded(net):
    net.eval()
    traced = fold_batch_norms(fx.GraphModule(net, LeafTracer().trace(net)))
    assert count_folded(traced) == 0
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(traced(images), net(images))


class LeafTracer(fx.Tracer):
    """Traces convolutions of any kind as one operation, as the tracer of networks does."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def test_an_activation_is_not_folded_if_the_norm_has_another_user():
    class TwoUsers(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            normalized = self[1](self[0](images))
            return self[2](normalized) + normalized

    net = TwoUsers(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    traced = folded(net)
    assert count_folded(traced) == 1
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(traced(images), net(images), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_torch_has_the_fused_kernel():
    """Fails first when torch changes this private function; without it, convolutions run unfused."""
    assert _has_fused_kernel(torch.zeros(1))
