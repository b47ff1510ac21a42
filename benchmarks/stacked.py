"""Trainings of equal shape, stacked into one network: are their gradients equal, and do they take less time?

::

    python -m benchmarks.stacked

Several trainings of one backbone and depth differ in their weights, batches and statistics alone. ``torch.func.vmap``
computes them at once: their convolutions become one grouped convolution, their matrix products one batched product.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.arguments import command_parser
from benchmarks.machine import describe_run
from benchmarks.pages import publish
from drft.config.trial_config import parse_config
from drft.feature_cache.network import optimize_graph
from drft.feature_cache.split_model import SplitModel, split_model
from drft.models.backbone import build_model
from drft.models.blocks import set_trainable, train_mode

BACKBONES = (
    "mobilenetv3_small_050",
    "mobilenetv2_100",
    "efficientnet_lite0",
    "resnet18",
    "resnet50",
    "regnety_002",
    "densenet121",
    "convnext_atto",
    "vit_tiny_patch16_224",
)
"""One of each family."""

_COLUMNS = ("backbone", "depth", "batch norm", "largest difference", "in turn", "stacked", "ratio")
_NOTE = (
    "Forward and backward pass of the trained blocks for one batch of each training. The largest difference is that of "
    "a gradient over the largest gradient of its training, in double precision; times are in single precision. A ratio "
    "above 1 says that stacking is faster. Batch norm frozen: moving statistics; adapt: statistics of the batch."
)

Tensors = Mapping[str, Tensor]


class Suffix(nn.Module):
    """The trained part of a network, as a module whose tensors ``functional_call`` can replace.

    Args:
        net: the network.
        network: the same network, cut.
        depth: of the boundary; None for the whole network.
    """

    def __init__(self, net: nn.Module, network: SplitModel, depth: int | None) -> None:
        super().__init__()
        self.net = net
        self.segments = nn.ModuleList(network.segments)  # some hold parameters of the network as their own
        self._network = network
        self._depth = depth

    def forward(self, *activations: Tensor) -> Tensor:
        """Return the logits, shape (images, classes)."""
        return self._network.suffix(self._depth, activations)


def loss_function(suffix: Suffix) -> Callable[..., Tensor]:
    """Return the cross-entropy as a function of parameters, statistics, classes and activations of one batch."""

    def loss(parameters: Tensors, statistics: Tensors, classes: Tensor, *activations: Tensor) -> Tensor:
        outputs: Tensor = functional_call(suffix, {**parameters, **statistics}, activations)
        return nn.functional.cross_entropy(outputs, classes)

    return loss


class Trainings:
    """Several trainings at their first step.

    Args:
        backbone: timm's name.
        count: number of trainings.
        batch_norm: mode of the batch norms of trained blocks.
        image_size: height and width in pixels.
        batch: images of each training.
        dtype: of the computation.
    """

    def __init__(
        self,
        backbone: str,
        count: int,
        batch_norm: Literal["frozen", "adapt"],
        image_size: int = 96,
        batch: int = 16,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        config = parse_config({"backbone": {"name": backbone, "weights": "none"}, "image_size": image_size})
        model = build_model(config)
        net = model.net.to(dtype)
        network = split_model(net, image_size, optimize_graph)
        # The fused convolutions of drft-study cannot be stacked.
        stackable = split_model(net, image_size)
        self.depth = network.cuts[len(network.cuts) // 2]
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(count * batch, 3, image_size, image_size, generator=generator, dtype=dtype)
        net.eval()
        reached = network.advance((images,), None, [self.depth])[self.depth]
        set_trainable(net, self.depth)
        train_mode(net, self.depth, batch_norm)
        self.suffix, self._stackable = (Suffix(net, split, self.depth) for split in (network, stackable))
        self.activations = [tensor.reshape(count, batch, *tensor.shape[1:]) for tensor in reached]
        self.classes = torch.randint(5, (count, batch), generator=generator)
        trained = {name: p.detach() for name, p in self.suffix.named_parameters() if p.requires_grad}
        self.parameters = {
            name: torch.stack(
                [
                    p + 0.02 * p.std().nan_to_num() * torch.randn(p.shape, generator=generator, dtype=dtype)
                    for _ in range(count)
                ]
            )
            for name, p in trained.items()
        }
        self.statistics = {name: torch.stack([buffer] * count) for name, buffer in self.suffix.named_buffers()}
        self.count = count

    def in_turn(self) -> list[dict[str, Tensor]]:
        """Return the gradients of each training, computed one after the other."""
        loss, gradients = loss_function(self.suffix), []
        for i in range(self.count):
            parameters = {name: tensor[i].requires_grad_() for name, tensor in self.parameters.items()}
            statistics = {name: tensor[i].clone() for name, tensor in self.statistics.items()}
            value = loss(parameters, statistics, self.classes[i], *(tensor[i] for tensor in self.activations))
            found = torch.autograd.grad(value, list(parameters.values()))
            gradients.append(dict(zip(parameters, found, strict=True)))
        return gradients

    def stacked(self) -> dict[str, Tensor]:
        """Return the gradients of all trainings, the trainings first, computed at once."""
        statistics = {name: tensor.clone() for name, tensor in self.statistics.items()}
        gradient = vmap(grad(loss_function(self._stackable)), randomness="different")
        result: dict[str, Tensor] = gradient(self.parameters, statistics, self.classes, *self.activations)
        return result

    def largest_difference(self) -> float:
        """Return the largest difference of a gradient, as a share of the largest gradient of its training."""
        stacked = self.stacked()
        shares = []
        for i, alone in enumerate(self.in_turn()):
            differences = torch.stack([(stacked[name][i] - gradient).abs().max() for name, gradient in alone.items()])
            largest = torch.stack([gradient.abs().max() for gradient in alone.values()]).max()
            shares.append(float(differences.max() / largest))
        return max(shares)


def measure(backbone: str, batch_norm: Literal["frozen", "adapt"], count: int, rounds: int) -> dict[str, Any]:
    """Compare gradients and medians of interleaved times."""
    trainings = Trainings(backbone, count, batch_norm)
    exact = Trainings(backbone, count, batch_norm, dtype=torch.float64)
    row: dict[str, Any] = {"backbone": backbone, "depth": trainings.depth, "batch_norm": batch_norm}
    try:
        row["largest_difference"] = exact.largest_difference()
    except RuntimeError as error:  # an operation that cannot be stacked
        return {**row, "fault": str(error).strip().splitlines()[0][:160]}
    seconds: dict[str, list[float]] = {"in_turn": [], "stacked": []}
    for _ in range(rounds):
        for name, work in (("in_turn", trainings.in_turn), ("stacked", trainings.stacked)):
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    return {**row, **{name: statistics.median(values) for name, values in seconds.items()}}


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table."""
    return [
        (
            row["backbone"],
            str(row["depth"]),
            row["batch_norm"],
            *(
                (row["fault"], "", "", "")
                if "fault" in row
                else (
                    f"{row['largest_difference']:.1g}",
                    f"{1000 * row['in_turn']:.0f} ms",
                    f"{1000 * row['stacked']:.0f} ms",
                    f"{row['in_turn'] / row['stacked']:.2f}",
                )
            ),
        )
        for row in result["rows"]
    ]


def main() -> None:
    """Measure, print, write."""
    parser = command_parser("stacked", __doc__)
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="timm's names")
    parser.add_argument("--trainings", type=int, default=4, help="how many are stacked")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved measurements")
    args: argparse.Namespace = parser.parse_args()
    console = Console()
    measured = []
    for backbone in args.backbones:
        modes: tuple[Literal["frozen", "adapt"], ...] = ("frozen", "adapt")
        for batch_norm in modes:
            with console.status(f"{backbone}, batch norm {batch_norm}"):
                measured.append(measure(backbone, batch_norm, args.trainings, args.rounds))
            console.print(measured[-1])
    result = {**describe_run("stacked", f"{args.trainings} trainings"), "rows": measured}
    publish("Stacked", args.out / "stacked", result, [(_COLUMNS, rows(result))], [_NOTE], console)


if __name__ == "__main__":
    main()
