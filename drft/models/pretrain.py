"""The embedded weights: a small backbone pretrained on procedural scenes, without natural images.

``python -m drft.models.pretrain --out FILE --seed 0`` makes them again; equal arguments give equal weights on
one kind of machine. The backbone learns to name the texture, shape and fractal of a scene and to count its lines
and small spots, all from one pooled feature vector, which is what a fine-tuning starts from. Beside that its
last feature map tells place by place how much each kind of thing covers, which is what makes it learn fast.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from drft.data.cache import whole_file
from drft.models.blocks import head_names
from drft.models.procedural import CELL, MAPS, TASKS, Scenes, render_scenes
from drft.models.weights import EMBEDDED_BACKBONE, EMBEDDED_FILE

_STRIDE = 32  # of the backbone's last feature map
_HELD_OUT = 1024
_HELD_OUT_SEED = 2**31
_WARM_UP = 0.05
_SMOOTHING = 0.1
_STATISTICS_BATCHES = 64


@dataclass(frozen=True)
class Course:
    """One part of the pretraining: scenes of one size, seen for some epochs."""

    size: int
    images: int
    epochs: int


COURSES = (Course(size=64, images=24_000, epochs=5), Course(size=96, images=12_000, epochs=8))
"""Small scenes first: things keep their size in pixels, so what is learnt there holds, at half the cost."""


class PretextNet(nn.Module):
    """The backbone with its pretext heads: one on pooled features, one on the last feature map."""

    def __init__(self) -> None:
        super().__init__()
        backbone: Any = timm.create_model(EMBEDDED_BACKBONE, num_classes=sum(TASKS.values()))
        self.backbone = backbone
        self.places = nn.Conv2d(backbone.num_features, len(MAPS) * (_STRIDE // CELL) ** 2, kernel_size=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of all tasks (n, classes) and maps (n, maps, size / CELL, size / CELL)."""
        features = self.backbone.forward_features(pictures)
        logits: Tensor = self.backbone.forward_head(features)
        return logits, F.pixel_shuffle(self.places(features), _STRIDE // CELL)


def pretrain(courses: tuple[Course, ...] = COURSES, *, seed: int = 0, batch: int = 64, lr: float = 3e-3) -> PretextNet:
    """Pretrain the backbone on procedural scenes and return it with its pretext heads.

    Args:
        courses: run one after the other; each epoch shows all of its scenes, turned, flipped and relit.
        seed: of the scenes, the initial weights and the order.
        batch: scenes per optimizer step.
        lr: peak learning rate of AdamW, after a linear warm-up and before a cosine to zero.
    """
    torch.manual_seed(seed)
    net = PretextNet().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(_parameter_groups(net), lr=lr, weight_decay=0.05)
    steps = sum(course.epochs * (course.images // batch) for course in courses)
    generator = torch.Generator().manual_seed(seed)
    for step, scenes in enumerate(track(_batches(courses, batch, seed, generator), "pretraining", total=steps)):
        for group in optimizer.param_groups:
            group["lr"] = lr * _schedule((step + 1) / steps)
        shown = augmented(scenes, generator)
        logits, maps = net(normalized(shown.pictures))
        loss = pretext_loss(logits, maps, shown)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    _settle_statistics(net, courses[-1], seed)
    return net.eval()


def pretext_loss(logits: Tensor, maps: Tensor, scenes: Scenes) -> Tensor:
    """Return the mean share that is left of the loss of guessing: cross-entropy of tasks, squared error of maps."""
    parts = torch.split(logits, list(TASKS.values()), dim=1)
    named = [
        F.cross_entropy(part, label, label_smoothing=_SMOOTHING) / math.log(part.shape[1])
        for part, label in zip(parts, scenes.labels.unbind(1), strict=True)
    ]
    placed = (maps - scenes.maps).square().mean((0, 2, 3)) / scenes.maps.var((0, 2, 3)).clamp_min(1e-4)
    return torch.stack(named).mean() + placed.mean()


@torch.inference_mode()
def pretext_scores(net: PretextNet, scenes: Scenes, batch: int = 256) -> dict[str, float]:
    """Return the accuracy of each task and the explained variance (R²) of each map, in evaluation mode."""
    net.eval()
    outputs = [net(normalized(pictures)) for pictures in torch.split(scenes.pictures, batch)]
    logits, maps = (torch.cat(part) for part in zip(*outputs, strict=True))
    parts = torch.split(logits, list(TASKS.values()), dim=1)
    hits = [(part.argmax(1) == label) for part, label in zip(parts, scenes.labels.unbind(1), strict=True)]
    left = (maps - scenes.maps).square().mean((0, 2, 3)) / scenes.maps.var((0, 2, 3))
    scores = {f"{name} accuracy": hit.float().mean().item() for name, hit in zip(TASKS, hits, strict=True)}
    return scores | {f"{name} map R²": 1 - share.item() for name, share in zip(MAPS, left, strict=True)}


def normalized(pictures: Tensor) -> Tensor:
    """Turn bytes (n, 3, size, size) into the network's input in [-1, 1] (mean and deviation 0.5)."""
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def augmented(scenes: Scenes, generator: Generator) -> Scenes:
    """Turn, flip and relight a batch; labels stay true and maps turn with the pictures."""
    turns, flip = torch.randint(4, (), generator=generator), torch.randint(2, (), generator=generator)
    pictures, maps = (torch.rot90(planes, int(turns), (2, 3)) for planes in (scenes.pictures, scenes.maps))
    if flip:
        pictures, maps = pictures.flip(3), maps.flip(3)
    gain = 0.75 + 0.5 * torch.rand(len(pictures), 3, 1, 1, generator=generator)
    return Scenes((pictures * gain).clamp(0, 255), scenes.labels, maps)


def save_backbone(path: Path, net: nn.Module, facts: dict[str, str]) -> None:
    """Write a timm model without its head, in half precision, with facts about its making as metadata."""
    head = head_names(net)
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items() if name not in head}
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with whole_file(path) as draft:
        save_file(tensors, draft, {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]", **facts})


def main() -> None:
    """Pretrain, measure the pretext tasks on fresh scenes and write the weights."""
    parser = argparse.ArgumentParser(description="Pretrain the embedded backbone on procedural scenes.")
    parser.add_argument("--out", type=Path, default=EMBEDDED_FILE, help="where the weights are written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of scenes")
    wanted = parser.parse_args()
    started = time.perf_counter()
    courses = tuple(Course(course.size, int(course.images * wanted.scale), course.epochs) for course in COURSES)
    net = pretrain(courses, seed=wanted.seed)
    scores = pretext_scores(net, render_scenes(_HELD_OUT, courses[-1].size, _HELD_OUT_SEED + wanted.seed))
    recipe = f"python -m drft.models.pretrain --seed {wanted.seed} --scale {wanted.scale:g}"
    rounded = json.dumps({name: round(value, 3) for name, value in scores.items()}, ensure_ascii=False)
    facts = {"architecture": EMBEDDED_BACKBONE, "recipe": recipe, "seed": str(wanted.seed), "timm": timm.__version__}
    save_backbone(wanted.out, net.backbone, facts | {"pretext": rounded})
    console = Console()
    console.print(f"{wanted.out}: {wanted.out.stat().st_size / 1e6:.2f} MB, {time.perf_counter() - started:.0f} s")
    for name, value in scores.items():
        console.print(f"  {name:24s} {value:.3f}")


def _parameter_groups(net: nn.Module) -> list[dict[str, Any]]:
    """Exempt biases and norms from weight decay."""
    parameters = list(net.parameters())
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1]},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _batches(courses: tuple[Course, ...], batch: int, seed: int, generator: Generator) -> Iterator[Scenes]:
    for course in courses:
        scenes = render_scenes(course.images, course.size, seed)
        for _ in range(course.epochs):
            order = torch.randperm(len(scenes), generator=generator)
            for chosen in torch.split(order[: len(scenes) // batch * batch], batch):
                yield Scenes(scenes.pictures[chosen], scenes.labels[chosen], scenes.maps[chosen])


def _schedule(progress: float) -> float:
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))


@torch.no_grad()
def _settle_statistics(net: PretextNet, course: Course, seed: int, batch: int = 64) -> None:
    """Average the batch-norm statistics over many batches, instead of the moving average of the last few."""
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = cast("float", None)  # torch's word for a cumulative average
    net.train()
    scenes = render_scenes(min(course.images, batch * _STATISTICS_BATCHES), course.size, seed)
    for pictures in torch.split(scenes.pictures, batch):
        net(normalized(pictures))


if __name__ == "__main__":
    main()
