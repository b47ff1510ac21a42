"""Transfer gain of the embedded weights over random initialization.

``python -m benchmarks.transfer synthetic IDRID_FOLDER`` prints a table for each data set: a linear probe (ridge
classifier on frozen features, its penalty chosen by leave-one-out on the training part) and full fine-tuning
(3 + 7 epochs, all blocks), over several seeds, on a validation part of the training images. Official test images are
not used.
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drft.config.trial_config import TrialConfig, parse_config
from drft.data import ImageDataset, load_images, open_dataset, stratified_split
from drft.data.augment import Views
from drft.models.backbone import block_count, build_model
from drft.training.trial import run_trial

_PENALTIES = np.logspace(1, 5, 9)


def linear_probe(config: TrialConfig, dataset: ImageDataset) -> float:
    """Return the validation accuracy of a ridge classifier on the frozen features of plain images."""
    parts = stratified_split(dataset, config.split)
    model = build_model(config, len(dataset.grades))
    images = load_images(dataset, config.image_size)
    views = Views(images, model.mean, model.std, device=torch.device("cpu"))
    train, validation = (_features(model.net, views, indices) for indices in (parts.train, parts.validation))
    labels = dataset.labels()
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(_PENALTIES)).fit(train, labels[parts.train])
    return float(probe.score(validation, labels[parts.validation]))


@torch.no_grad()
def _features(net: Any, views: Views, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return a timm model's features of plain images before the classifier, shape (indices, features)."""
    net.eval()
    batches = (views.normalize(views.plain(part)) for part in np.array_split(indices, 8))
    features = [net.forward_head(net.forward_features(batch), pre_logits=True) for batch in batches]
    return torch.cat(features).numpy()


def measure(dataset: ImageDataset, weights: Sequence[str], seeds: Sequence[int], backbone: str, lr: float) -> None:
    """Print one line per source of weights: probe, best and last accuracy, mean ± standard deviation over seeds."""
    images = sum(dataset.counts("train"))
    print(f"\n{dataset.name} ({dataset.fingerprint[:8]}): {images} images, {len(seeds)} seeds and splits")
    for source in weights:
        values = {
            "depth": block_count(backbone),
            "backbone": {"name": backbone, "weights": source},
            "head_phase": {"epochs": 3},
            "depth_phase": {"epochs": 7, "lr": lr, "layer_decay": 1.0},
        }
        configs = [parse_config({**values, "seed": seed, "split": {"seed": seed}}) for seed in seeds]
        probes = [linear_probe(config, dataset) for config in configs]
        results = [run_trial(config, dataset) for config in configs]
        best = [result.best.val_accuracy for result in results]
        last = [result.last.val_accuracy for result in results]
        print(f"  {source:10s} probe {_spread(probes)}   best {_spread(best)}   last {_spread(last)}", flush=True)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    """Measure every given data set."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("sources", nargs="+", help="data sources, as for `drft-study run --data`")
    parser.add_argument("--weights", nargs="+", default=["none", "embedded"], help="sources of weights to compare")
    parser.add_argument("--backbone", default="mobilenetv3_small_050")
    parser.add_argument("--seeds", type=int, default=5, help="two or more")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate of the blocks, for all weights")
    args = parser.parse_args()
    for source in args.sources:
        measure(open_dataset(source), args.weights, range(args.seeds), args.backbone, args.lr)


if __name__ == "__main__":
    main()
