"""Pretrain the embedded weights: a small backbone on procedural scenes, without natural images.

``python -m tools.pretrain.pretrain --out FILE --seed 0`` reproduces them; equal arguments give equal weights on one
kind of machine. The pretext tasks classify the texture, the shape and the fractal of a scene, the number of lines and
of small dark and bright spots, and the size of the spots. All tasks share one pooled feature vector; fine-tuning
starts from it.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import update_bn

from drft.files.atomic import whole_file
from drft.models.blocks import head_names
from drft.models.weights import EMBEDDED_BACKBONE, EMBEDDED_FILE
from tools.pretrain.procedural import TASKS, Scenes, render_scenes

IMAGE_SIZE = 96
_TEST_SCENES = 1024
_TEST_SEED = 2**31
_WARM_UP = 0.05
_SMOOTHING = 0.1
_STATISTICS_BATCHES = 64


def pretrain(images: int, epochs: int, *, seed: int = 0, batch: int = 128, lr: float = 4e-3) -> nn.Module:
    """Pretrain the backbone on procedural scenes and return it with its pretext head.

    Args:
        images: scenes rendered before the training; each epoch shows all of them, rotated, flipped and relit.
        epochs: passes over the scenes.
        seed: of scenes, initial weights and order.
        batch: scenes per optimizer step.
        lr: peak learning rate of AdamW, after a linear warm-up and before a cosine to zero.
    """
    scenes = render_scenes(images, IMAGE_SIZE, seed)
    torch.manual_seed(seed)
    net: nn.Module = timm.create_model(EMBEDDED_BACKBONE, num_classes=sum(TASKS.values()))
    net = net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(_parameter_groups(net), lr=lr, weight_decay=0.05)
    steps = epochs * (images // batch)
    generator = torch.Generator().manual_seed(seed)
    batches = _shuffled_batches(scenes, epochs, batch, generator)
    for step, (batch_images, labels) in enumerate(track(batches, "pretraining", total=steps)):
        for group in optimizer.param_groups:
            group["lr"] = lr * _schedule((step + 1) / steps)
        loss = pretext_loss(net(normalized(augmented(batch_images, generator))), labels)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    # Batch-norm statistics averaged over many batches, instead of the moving average of the last few.
    chosen = torch.split(scenes.images[: batch * _STATISTICS_BATCHES], batch)
    update_bn((normalized(images) for images in chosen), net)
    return net.eval()


def pretext_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of all tasks, each divided by the cross-entropy of guessing."""
    parts = torch.split(logits, list(TASKS.values()), dim=1)
    losses = [
        F.cross_entropy(part, label, label_smoothing=_SMOOTHING) / math.log(part.shape[1])
        for part, label in zip(parts, labels.unbind(1), strict=True)
    ]
    return torch.stack(losses).mean()


@torch.inference_mode()
def pretext_accuracy(net: nn.Module, scenes: Scenes, batch: int = 256) -> dict[str, float]:
    """Return the accuracy of each task on scenes, in evaluation mode."""
    net.eval()
    logits = torch.cat([net(normalized(images)) for images in torch.split(scenes.images, batch)])
    parts = torch.split(logits, list(TASKS.values()), dim=1)
    hits = [(part.argmax(1) == label) for part, label in zip(parts, scenes.labels.unbind(1), strict=True)]
    return {name: hit.float().mean().item() for name, hit in zip(TASKS, hits, strict=True)}


def normalized(images: Tensor) -> Tensor:
    """Convert uint8 images (n, 3, size, size) to network input in [-1, 1] (mean and standard deviation 0.5)."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, generator: Generator) -> Tensor:
    """Rotate, flip and relight a batch; its labels stay correct."""
    quarters, flip = torch.randint(4, (), generator=generator), torch.randint(2, (), generator=generator)
    images = torch.rot90(images, int(quarters), (2, 3))
    images = images.flip(3) if flip else images
    gain = 0.75 + 0.5 * torch.rand(len(images), 3, 1, 1, generator=generator)
    return (images * gain).clamp(0, 255)


def save_backbone(path: Path, net: nn.Module, metadata: dict[str, str]) -> None:
    """Write the backbone without its head, in half precision, with normalization and ``metadata``."""
    head = head_names(net)
    state = {name: tensor for name, tensor in net.state_dict().items() if name not in head}
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as draft:
        save_file(contiguous, draft, {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]", **metadata})


def main() -> None:
    """Pretrain, measure the pretext tasks on unseen scenes, and write the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.pretrain.pretrain", description="Pretrain the embedded backbone on procedural scenes."
    )
    parser.add_argument("--out", type=Path, default=EMBEDDED_FILE, help="file for the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=16_000, help="scenes to render")
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    started = time.perf_counter()
    net = pretrain(args.images, args.epochs, seed=args.seed)
    accuracy = pretext_accuracy(net, render_scenes(_TEST_SCENES, IMAGE_SIZE, _TEST_SEED + args.seed))
    recipe = f"python -m tools.pretrain.pretrain --seed {args.seed} --images {args.images} --epochs {args.epochs}"
    rounded = {name: round(value, 3) for name, value in accuracy.items()}
    metadata = {
        "architecture": EMBEDDED_BACKBONE,
        "seed": str(args.seed),
        "recipe": recipe,
        "timm": timm.__version__,
        "pretext_accuracy": json.dumps(rounded),
    }
    save_backbone(args.out, net, metadata)
    console = Console()
    console.print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {time.perf_counter() - started:.0f} s")
    for name, value in accuracy.items():
        console.print(f"  {name:12s} {value:.3f}  (guessing {1 / TASKS[name]:.3f})")


def _parameter_groups(net: nn.Module) -> list[dict[str, object]]:
    """Exempt biases and norms from weight decay."""
    parameters = list(net.parameters())
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1]},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _shuffled_batches(scenes: Scenes, epochs: int, batch: int, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(epochs):
        order = torch.randperm(len(scenes), generator=generator)
        for chosen in torch.split(order[: len(scenes) // batch * batch], batch):
            yield scenes.images[chosen], scenes.labels[chosen]


def _schedule(progress: float) -> float:
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))


if __name__ == "__main__":
    main()
