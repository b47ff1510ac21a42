"""The plain peer: files on disk, a DataLoader, torchvision's transforms, timm and Optuna.

Written as an experienced user would write it: images resized once beforehand, loader processes on all cores that live
as long as the trial, tensors decoded and augmented as uint8, channels_last, fused AdamW.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import InterpolationMode, v2

from benchmarks.peer_measurement import EpochScores, ProgramMeasurement, run_trials
from benchmarks.plan import BenchmarkPlan
from drft.config.trial_config import TrialConfig
from drft.data import stratified_split
from drft.models.backbone import build_model
from drft.models.blocks import head_names, list_blocks, set_trainable, train_mode
from drft.models.devices import Computed, autocast, pick_precision
from study.executors.resources import cores

EVALUATION_BATCH = 128

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""On a GPU the loop computes in the precision that drft-study would choose there, on a CPU in float32."""

Loader = DataLoader[tuple[Tensor, int]]


class JpegFolder(Dataset[tuple[Tensor, int]]):
    """JPEG files and their grades."""

    def __init__(self, folder: Path, grades: Sequence[int], transform: v2.Transform) -> None:
        self._folder = folder
        self._grades = grades
        self._transform = transform

    def __len__(self) -> int:
        return len(self._grades)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return the transformed image, float32 of shape (3, size, size), and its grade."""
        with Image.open(self._folder / f"{index}.jpg") as opened:
            image = self._transform(v2.functional.pil_to_tensor(opened))
        return image, self._grades[index]


class PlainPeer:
    """Trains the configurations of a plan.

    Args:
        plan: its images must be stored as JPEG files.
        loader_processes: for each pass over the images.
    """

    def __init__(self, plan: BenchmarkPlan, loader_processes: int) -> None:
        self._loader_processes = loader_processes
        dataset = plan.dataset()
        self._folder = plan.jpegs
        self._grades = dataset.labels().tolist()
        self._classes = len(dataset.grades)
        self._split = stratified_split(dataset, plan.trials[0].split)
        model = build_model(plan.trials[0], self._classes)
        head = head_names(model.net)
        self._weights = {name: tensor for name, tensor in model.pretrained.items() if name not in head}
        self._normalize = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(model.mean, model.std)]

    def train(self, config: TrialConfig) -> list[EpochScores]:
        """Fine-tune in two phases and return the scores of every epoch."""
        torch.manual_seed(config.seed)
        net: Any = timm.create_model(config.backbone.name, num_classes=self._classes)
        net.load_state_dict(self._weights, strict=False)
        net = net.to(DEVICE, memory_format=torch.channels_last)
        precision = pick_precision(config.precision, DEVICE, net) if DEVICE.type == "cuda" else "fp32"
        loader, evaluation_loader = self._loaders(config)
        head, deep = config.head_phase, config.depth_phase
        epochs: list[EpochScores] = []
        for depth, count, head_lr, cosine in (
            (0, head.epochs, head.lr, False),
            (config.depth, deep.epochs, deep.head_lr, True),
        ):
            set_trainable(net, depth)
            groups = [{"params": list(net.get_classifier().parameters()), "lr": head_lr}]
            for distance, block in enumerate(reversed(list_blocks(net)[-depth:] if depth else [])):
                parameters = [net.get_parameter(name) for name in block.parameters]
                groups.append({"params": parameters, "lr": deep.lr * deep.layer_decay**distance})
            optimizer = torch.optim.AdamW(groups, weight_decay=config.optimizer.weight_decay, fused=True)
            updates = count * len(loader)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates) if cosine else None
            for _ in range(count):
                train_mode(net, depth, config.batch_norm)
                for images, grades in loader:
                    inputs = images.to(DEVICE, memory_format=torch.channels_last, non_blocking=True)
                    with autocast(precision, DEVICE):
                        outputs = net(inputs)
                    loss = F.cross_entropy(outputs.float(), grades.to(DEVICE, non_blocking=True))
                    optimizer.zero_grad()
                    torch.autograd.backward(loss)
                    optimizer.step()
                    if schedule:
                        schedule.step()
                epochs.append(self._evaluate(net, evaluation_loader, precision, len(epochs) + 1))
        return epochs

    def _loaders(self, config: TrialConfig) -> tuple[Loader, Loader]:
        size, strength = config.image_size, config.augmentation.strength
        fit = [v2.Resize(size)] if strength == 0 else augmentation(size, strength)
        augmented = JpegFolder(self._folder, self._grades, v2.Compose([*fit, *self._normalize]))
        plain = JpegFolder(self._folder, self._grades, v2.Compose([v2.Resize(size), *self._normalize]))
        train, validation = self._split.train.tolist(), self._split.validation.tolist()
        processes = self._loader_processes
        return (
            DataLoader(
                Subset(augmented, train),
                config.batch_size,
                shuffle=True,
                drop_last=len(train) % config.batch_size == 1,  # batch norm cannot train on one image
                num_workers=processes,
                persistent_workers=processes > 0,
                pin_memory=DEVICE.type == "cuda",
            ),
            DataLoader(
                Subset(plain, train + validation),
                EVALUATION_BATCH,
                num_workers=processes,
                persistent_workers=processes > 0,
                pin_memory=DEVICE.type == "cuda",
            ),
        )

    @torch.inference_mode()
    def _evaluate(self, net: nn.Module, loader: Loader, precision: Computed, step: int) -> EpochScores:
        net.eval()
        batches = (images.to(DEVICE, memory_format=torch.channels_last, non_blocking=True) for images, _ in loader)
        with autocast(precision, DEVICE):
            logits = torch.cat([net(images) for images in batches]).float().cpu()
        grades = torch.tensor([self._grades[i] for i in np.concatenate([self._split.train, self._split.validation])])
        return score(logits, grades, len(self._split.train), step)


def augmentation(size: int, strength: float) -> list[v2.Transform]:
    """Return torchvision's transforms of the same kinds and ranges as drft-study's views."""
    return [
        v2.RandomResizedCrop(size, scale=(1 - 0.35 * strength, 1.0), ratio=(1.0, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.RandomRotation(90 * strength, interpolation=InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=0.2 * strength, contrast=0.3 * strength, saturation=0.3 * strength),
    ]


def score(logits: Tensor, grades: Tensor, train: int, step: int) -> EpochScores:
    """Return accuracy and cross-entropy of the first ``train`` images and of the others, the validation images."""
    correct = (logits.argmax(dim=1) == grades).float()
    loss = F.cross_entropy(logits, grades, reduction="none")
    return EpochScores(
        step=step,
        train_accuracy=float(correct[:train].mean()),
        train_loss=float(loss[:train].mean()),
        val_accuracy=float(correct[train:].mean()),
        val_loss=float(loss[train:].mean()),
    )


def run(plan: BenchmarkPlan) -> ProgramMeasurement:
    """Run the chosen trials; there is no setup to wait for."""
    trials, seconds = run_trials(plan, PlainPeer(plan, cores()).train)
    return ProgramMeasurement(setup_seconds=0.0, seconds=seconds, trials=trials, threads=torch.get_num_threads())
