"""How well does a report find wrong labels: grades that are known to be changed, and errors that were planted.

::

    python -m benchmarks.label_errors --data IDRID_KAGGLE --weights FILE --normalization half

Images are the training ones of IDRiD's Kaggle layout, whose grades differ here and there from the official ones;
test images are left out before anything else. The official grades get random errors, too, at several rates. Every
image is graded by trainings that never saw it: configurations drawn from the ``idrid`` space, each on stratified
folds with whole groups. The report's suspect score (``study.analysis.label_errors``: the normalized margin of
averaged probabilities) then ranks all images, against the loss that a single configuration gives them.
"""

import argparse
import hashlib
import itertools
import multiprocessing
import sys
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

from benchmarks.label_error_scores import DetectionScore, measured, notes, rows
from benchmarks.machine import describe_machine, public_command
from benchmarks.pages import markdown_page, show_table, write_result
from drft.config.trial_config import NORMALIZATIONS, TrialConfig, with_values
from drft.data import ImageDataset, open_dataset
from drft.models.backbone import block_count
from drft.training.session import TrainingSession
from drft.training.trial import run_trial
from study.executors.resources import cores
from study.space import Space

RATES = (0.05, 0.1, 0.2)
"""Shares of the images that are given a wrong grade."""

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
    """One way to grade the images."""

    name: str
    grades: NDArray[np.int64]
    """As the trainings are given them, shape (images,)."""
    wrong: NDArray[np.bool_]


class TrainingJob(NamedTuple):
    """One training."""

    labels: int
    configuration: int
    fold: int


class FoldPredictions(NamedTuple):
    """What one training said of its fold, at its best epoch."""

    job: TrainingJob
    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]


def training_part(source: str) -> tuple[ImageDataset, NDArray[np.int64]]:
    """Return the training images as the source grades them, and their official grades, shape (images,).

    Duplicates of test images are left out.
    """
    official, given = (open_dataset(source, options={"labels": labels}) for labels in ("official", "as-given"))
    sealed = {one.group for one in given.images if one.origin == "test"}
    kept = [n for n, one in enumerate(given.images) if one.group not in sealed]
    images = tuple(given.images[n] for n in kept)
    own = hashlib.sha256(f"{given.fingerprint} training part".encode()).hexdigest()
    return replace(given, images=images, fingerprint=own), official.labels()[kept]


def all_labels(given: NDArray[np.int64], official: NDArray[np.int64], grades: int, seed: int) -> Iterator[LabelSet]:
    """Yield the labels as given, and the official ones with planted errors."""
    yield LabelSet("as given on Kaggle", given, given != official)
    for number, rate in enumerate(RATES):
        planted = with_errors(official, rate, grades, np.random.default_rng((seed, number)))
        yield LabelSet(f"official, {rate:.0%} at random", planted, planted != official)


def with_errors(grades: NDArray[np.int64], rate: float, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the grades with a share of them replaced, each by one of the other grades with equal probability."""
    chosen = rng.choice(len(grades), round(rate * len(grades)), replace=False)
    changed = grades.copy()
    changed[chosen] = (grades[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return changed


def draw(base: TrialConfig, count: int, deepest: int, seed: int) -> list[TrialConfig]:
    """Draw configurations from the ``idrid`` space at random, none deeper than ``deepest``.

    Image size and folds are those of ``base``. Images are plain ones (strength 0): activations of augmented views
    would have to be computed anew for every fold of all labels, which is most of the time.
    """
    space = Space.load("idrid").bind(base, block_count(base.backbone.name))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    drawn: list[TrialConfig] = []
    while len(drawn) < count:
        config = space.suggest(study.ask())
        if config.depth <= deepest:
            own = {"seed": len(drawn), "image_size": base.image_size, "split.folds": base.split.folds}
            drawn.append(with_values(config, {**own, "augmentation.strength": 0.0}))
    return drawn


def labelled(dataset: ImageDataset, labels: NDArray[np.int64]) -> ImageDataset:
    """Return the data set with other grades; its fingerprint stays, so that images and activations are shared."""
    pairs = zip(dataset.images, labels.tolist(), strict=True)
    return replace(dataset, images=tuple(replace(one, grade=grade) for one, grade in pairs))


class Grader:
    """What a worker keeps between trainings."""

    def __init__(
        self, dataset: ImageDataset, labels: Sequence[LabelSet], configs: Sequence[TrialConfig], cache: Path
    ) -> None:
        self._dataset, self._labels, self._configs, self._cache = dataset, labels, configs, cache
        self._session: tuple[int, TrainingSession] | None = None

    def grade(self, job: TrainingJob) -> FoldPredictions:
        """Train on all folds but one, and return what the best epoch says of that one."""
        if self._session is None or self._session[0] != job.labels:
            dataset = labelled(self._dataset, self._labels[job.labels].grades)
            self._session = job.labels, TrainingSession(dataset, cache_dir=self._cache, device="cpu", processes=2)
        config = with_values(self._configs[job.configuration], {"split.fold": job.fold})
        result = run_trial(config, self._session[1])
        told = result.predictions["validation"]
        return FoldPredictions(job, told.ids, told.probabilities[result.best.step - 1].astype(np.float32))


_grader: Grader


def _start(*arguments: Any) -> None:
    global _grader  # noqa: PLW0603  a worker process has one
    torch.set_num_threads(1)
    _grader = Grader(*arguments)


def _grade(job: TrainingJob) -> FoldPredictions:
    return _grader.grade(job)


def out_of_fold(
    dataset: ImageDataset, labels: Sequence[LabelSet], configs: Sequence[TrialConfig], workers: int, console: Console
) -> Iterator[NDArray[np.float64]]:
    """Train every configuration on every fold, for one way to grade after the other.

    Yields:
        Class probabilities of trainings that did not see the image, shape (configurations, images, grades).
    """
    folds = configs[0].split.folds or 0
    place = {one.id: n for n, one in enumerate(dataset.images)}
    # Fold by fold: configurations share the activations of its images.
    jobs = [TrainingJob(n, c, fold) for n in range(len(labels)) for fold in range(folds) for c in range(len(configs))]
    with (
        tempfile.TemporaryDirectory(prefix="drft-label-errors-") as cache,
        ProcessPoolExecutor(
            workers,
            multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(dataset, labels, configs, Path(cache)),
        ) as pool,
    ):
        graded = pool.map(_grade, jobs)
        for one in labels:
            said = np.full((len(configs), len(place), len(dataset.grades)), np.nan)
            for job, ids, probabilities in itertools.islice(graded, folds * len(configs)):
                said[job.configuration, [place[id_] for id_ in ids]] = probabilities
            console.print(f"{one.name}: {folds * len(configs)} trainings", highlight=False)
            yield said


def run(wanted: argparse.Namespace, console: Console) -> Iterator[dict[str, Any]]:
    """Train and rank, and yield everything as it is written to JSON after each way to grade, whole with the last."""
    dataset, official = training_part(wanted.data)
    base = _base(wanted)
    configs = draw(base, wanted.configurations, wanted.deepest, wanted.seed)
    labels = list(all_labels(dataset.labels(), official, len(dataset.grades), wanted.seed))
    ids = tuple(one.id for one in dataset.images)
    result = {
        "label": f"{dataset.name}, {base.backbone.name} at {base.image_size} px",
        "command": public_command("benchmarks.label_errors", sys.argv[1:]),
        "machine": describe_machine(),
        "photographs": len(dataset),
        "configurations": [config.model_dump(mode="json", exclude={"backbone": {"weights"}}) for config in configs],
        "folds": wanted.folds,
        "seed": wanted.seed,
    }
    found: list[dict[str, Any]] = []
    began = time.perf_counter()
    for one, said in zip(labels, out_of_fold(dataset, labels, configs, wanted.workers, console), strict=True):
        found.append(measured(one.name, ids, one.grades, one.wrong, said).model_dump())
        yield {**result, "seconds": time.perf_counter() - began, "found": found}


def _base(wanted: argparse.Namespace) -> TrialConfig:
    values: Mapping[str, Any] = {
        "backbone.name": wanted.backbone,
        "backbone.weights": str(Path(wanted.weights).absolute()) if wanted.weights else "embedded",
        "backbone.normalization": wanted.normalization,
        "image_size": wanted.image_size,
        "split.folds": wanted.folds,
    }
    return with_values(TrialConfig(), values)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.label_errors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="folder of IDRiD in the Kaggle layout")
    parser.add_argument("--weights", help="weight file; without it the embedded weights")
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="auto")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--configurations", type=int, default=6)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--deepest", type=int, default=3, help="most blocks that a configuration trains")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    wanted = parser.parse_args()
    console = Console()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for result in run(wanted, console):
        found = [DetectionScore.model_validate(one) for one in result["found"]]
        table, told = (_COLUMNS, rows(found)), [*notes(found), _work(result)]
        page = markdown_page("Label errors", result, [table], told)
        write_result(wanted.out / "label_errors", result, page, told, Console(quiet=True))
    show_table("Label errors", table, console)
    for note in told:
        console.print(note, highlight=False)


def _work(result: Mapping[str, Any]) -> str:
    depths = ", ".join(str(depth) for depth in sorted(config["depth"] for config in result["configurations"]))
    return (
        f"{result['photographs']} training images, no test images; {len(result['configurations'])} "
        f"configurations (depths {depths}) on each of {result['folds']} folds, plain images; "
        f"{result['seconds'] / 60:.0f} minutes."
    )


if __name__ == "__main__":
    main()
