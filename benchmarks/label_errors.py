"""How well a report detects wrong labels: grades that are known to be changed, and random errors.

::

    python -m benchmarks.label_errors --data IDRID_KAGGLE --weights FILE --normalization half

Images are the training images of IDRiD's Kaggle layout, some of whose grades differ from the official ones; test
images are left out first. The official grades get random errors as well, at several rates. Every image is predicted by
trainings that did not see it: configurations drawn from the ``idrid`` space, each on stratified folds with whole
groups. The report's suspect score (``study.analysis.label_errors``: the normalized margin of averaged probabilities)
ranks all images, and is compared with the loss of a single configuration.
"""

import argparse
import hashlib
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.arguments import add_model_options, command_parser, set_backbone
from benchmarks.label_error_scores import DetectionScore, notes, rows, score_detection
from benchmarks.machine import describe_run
from benchmarks.pages import publish
from drft.config.trial_config import TrialConfig, with_values
from drft.data import ImageDataset, open_dataset
from drft.models.backbone import block_count
from drft.training.session import TrainingSession
from drft.training.trial import run_trial
from study.executors.resources import cores
from study.space import Space

RATES = (0.05, 0.1, 0.2)
"""Shares of the images that get a wrong grade."""

_COLUMNS = (
    "labels",
    "wrong",
    "study's score: AUROC",
    "loss of the best configuration: AUROC",
    "loss, mean of configurations",
    "loss of averaged probabilities",
    "study less best",
    "wrong in the first as many: study / best",
    "wrong of those listed",
    "wrong of those beyond chance",
)


class LabelSet(NamedTuple):
    """One set of labels for the images."""

    name: str
    grades: NDArray[np.int64]
    """Shape (images,)."""
    wrong: NDArray[np.bool_]


class TrainingJob(NamedTuple):
    """One training."""

    labels: int
    configuration: int
    fold: int


class FoldPredictions(NamedTuple):
    """Predictions of one training for its validation fold, at its best epoch."""

    job: TrainingJob
    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]


def training_part(source: str) -> tuple[ImageDataset, NDArray[np.int64]]:
    """Return the training images with the source's grades, and their official grades, shape (images,).

    Duplicates of test images are left out.
    """
    official, given = (open_dataset(source, options={"labels": labels}) for labels in ("official", "as-given"))
    test_groups = {image.group for image in given.images if image.origin == "test"}
    indices = [index for index, image in enumerate(given.images) if image.group not in test_groups]
    images = tuple(given.images[index] for index in indices)
    fingerprint = hashlib.sha256(f"{given.fingerprint} training part".encode()).hexdigest()
    return replace(given, images=images, fingerprint=fingerprint), official.labels()[indices]


def label_sets(given: NDArray[np.int64], official: NDArray[np.int64], grades: int, seed: int) -> Iterator[LabelSet]:
    """Yield the labels as given, and the official labels with random errors."""
    yield LabelSet("as given on Kaggle", given, given != official)
    for index, rate in enumerate(RATES):
        labels = with_errors(official, rate, grades, np.random.default_rng((seed, index)))
        yield LabelSet(f"official, {rate:.0%} at random", labels, labels != official)


def with_errors(grades: NDArray[np.int64], rate: float, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the grades with a share of them replaced, each by one of the other grades with equal probability."""
    chosen = rng.choice(len(grades), round(rate * len(grades)), replace=False)
    changed = grades.copy()
    changed[chosen] = (grades[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return changed


def draw_configs(base: TrialConfig, count: int, deepest: int, seed: int) -> list[TrialConfig]:
    """Draw configurations from the ``idrid`` space at random, none deeper than ``deepest``.

    Image size and folds are those of ``base``. Images are not augmented: activations of augmented images would have to
    be computed for every fold of every label set, which would take most of the time.
    """
    space = Space.load("idrid").bind(base, block_count(base.backbone.name))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    configs: list[TrialConfig] = []
    while len(configs) < count:
        config = space.suggest(study.ask())
        if config.depth <= deepest:
            changes = {"seed": len(configs), "image_size": base.image_size, "split.folds": base.split.folds}
            configs.append(with_values(config, {**changes, "augmentation.strength": 0.0}))
    return configs


def with_labels(dataset: ImageDataset, labels: NDArray[np.int64]) -> ImageDataset:
    """Return the data set with other grades; its fingerprint stays, so images and activations are shared."""
    pairs = zip(dataset.images, labels.tolist(), strict=True)
    return replace(dataset, images=tuple(replace(image, grade=grade) for image, grade in pairs))


class FoldTrainer:
    """Trains jobs in one process; the session is reused as long as the labels stay the same."""

    def __init__(
        self, dataset: ImageDataset, labels: Sequence[LabelSet], configs: Sequence[TrialConfig], cache: Path
    ) -> None:
        self._dataset, self._labels, self._configs, self._cache = dataset, labels, configs, cache
        self._session: tuple[int, TrainingSession] | None = None

    def run(self, job: TrainingJob) -> FoldPredictions:
        """Train on all folds but one, and return the predictions of the best epoch for that fold."""
        if self._session is None or self._session[0] != job.labels:
            dataset = with_labels(self._dataset, self._labels[job.labels].grades)
            self._session = job.labels, TrainingSession(dataset, cache_dir=self._cache, device="cpu", processes=2)
        config = with_values(self._configs[job.configuration], {"split.fold": job.fold})
        result = run_trial(config, self._session[1])
        predictions = result.predictions["validation"]
        best = predictions.probabilities[result.best.step - 1]
        return FoldPredictions(job, predictions.ids, best.astype(np.float32))


_trainer: FoldTrainer


def _initialize(*arguments: Any) -> None:
    global _trainer  # noqa: PLW0603 (one per worker process)
    torch.set_num_threads(1)
    _trainer = FoldTrainer(*arguments)


def _run(job: TrainingJob) -> FoldPredictions:
    return _trainer.run(job)


def out_of_fold(
    dataset: ImageDataset, labels: Sequence[LabelSet], configs: Sequence[TrialConfig], workers: int, console: Console
) -> Iterator[NDArray[np.float64]]:
    """Train every configuration on every fold, one label set after another.

    Yields:
        Class probabilities from trainings that did not see the image, shape (configurations, images, grades).
    """
    folds = configs[0].split.folds or 0
    indices = {image.id: index for index, image in enumerate(dataset.images)}
    # Fold by fold, because the configurations share the activations of a fold's images.
    jobs = [TrainingJob(n, c, fold) for n in range(len(labels)) for fold in range(folds) for c in range(len(configs))]
    with (
        tempfile.TemporaryDirectory(prefix="drft-label-errors-") as cache,
        ProcessPoolExecutor(
            workers,
            multiprocessing.get_context("spawn"),
            initializer=_initialize,
            initargs=(dataset, labels, configs, Path(cache)),
        ) as pool,
    ):
        results = pool.map(_run, jobs)
        for label_set in labels:
            probabilities = np.full((len(configs), len(indices), len(dataset.grades)), np.nan)
            for job, ids, fold_probabilities in itertools.islice(results, folds * len(configs)):
                probabilities[job.configuration, [indices[id_] for id_ in ids]] = fold_probabilities
            console.print(f"{label_set.name}: {folds * len(configs)} trainings", highlight=False)
            yield probabilities


def run(args: argparse.Namespace, console: Console) -> Iterator[dict[str, Any]]:
    """Train and score; after each label set, yield the result so far as it is written to JSON."""
    dataset, official = training_part(args.data)
    values = {
        "backbone.name": args.backbone,
        "backbone.weights": str(Path(args.weights).absolute()) if args.weights else "embedded",
        "backbone.normalization": args.normalization,
        "image_size": args.image_size,
        "split.folds": args.folds,
    }
    base = with_values(TrialConfig(), values)
    configs = draw_configs(base, args.configurations, args.deepest, args.seed)
    labels = list(label_sets(dataset.labels(), official, len(dataset.grades), args.seed))
    ids = tuple(image.id for image in dataset.images)
    result = {
        **describe_run("label_errors", f"{dataset.name}, {base.backbone.name} at {base.image_size} px"),
        "photographs": len(dataset),
        "configurations": [config.model_dump(mode="json", exclude={"backbone": {"weights"}}) for config in configs],
        "folds": args.folds,
        "seed": args.seed,
    }
    scores: list[dict[str, Any]] = []
    started = time.perf_counter()
    predictions = out_of_fold(dataset, labels, configs, args.workers, console)
    for label_set, probabilities in zip(labels, predictions, strict=True):
        scores.append(
            score_detection(label_set.name, ids, label_set.grades, label_set.wrong, probabilities).model_dump()
        )
        yield {**result, "seconds": time.perf_counter() - started, "found": scores}


def describe_trainings(result: Mapping[str, Any]) -> str:
    """Return one sentence about the images and the trainings."""
    depths = ", ".join(str(depth) for depth in sorted(config["depth"] for config in result["configurations"]))
    return (
        f"{result['photographs']} training images, no test images; {len(result['configurations'])} "
        f"configurations (depths {depths}) on each of {result['folds']} folds, plain images; "
        f"{result['seconds'] / 60:.0f} minutes."
    )


def main() -> None:
    """Measure, print, write."""
    parser = command_parser("label_errors", __doc__)
    parser.add_argument("--data", required=True, help="folder of IDRiD in the Kaggle layout")
    add_model_options(parser)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--configurations", type=int, default=6)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--deepest", type=int, default=3, help="most blocks that a configuration trains")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--seed", type=int, default=0)
    args, console = parser.parse_args(), Console()
    set_backbone(args)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for result in run(args, console):
        scores = [DetectionScore.model_validate(score) for score in result["found"]]
        table, lines = (_COLUMNS, rows(scores)), [*notes(scores), describe_trainings(result)]
        # A run takes hours: the files are written after every label set, and printed after the last.
        last = len(scores) == len(RATES) + 1
        shown = console if last else Console(quiet=True)
        publish("Label errors", args.out / "label_errors", result, [table], lines, shown)


if __name__ == "__main__":
    main()
