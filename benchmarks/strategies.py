"""Effects of fine-tuning strategies on real images: each strategy against one baseline, image by image.

::

    python -m benchmarks.strategies --data IDRID --weights FILE --normalization half
    python -m benchmarks.strategies --quick

Every strategy is cross-validated: each repeat divides the training images anew into five folds. A strategy and the
baseline have the same folds, heads, batch orders and views. A fold is scored at the epoch that the other folds of its
repeat choose, as in the verdict of a study. Trainings are stored: the same command resumes an interrupted run. The test
images are not used. No strategy is tuned, so gains that need other settings do not show.
"""

import argparse
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from scipy import stats

from benchmarks.arguments import add_model_options, command_parser, set_backbone
from benchmarks.combined_models import COMBINED, KEPT, SOURCES, combine
from benchmarks.machine import describe_run
from benchmarks.pages import ResultTable, publish
from benchmarks.strategy_list import BASELINE, STRATEGIES, Strategy
from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.data import open_dataset
from drft.errors import DrftError
from drft.files.atomic import whole_file
from drft.models.checkpoint import save_checkpoint
from drft.training.records import TrialResult
from study.analysis.estimators.intervals import LEVEL, RESAMPLES, Estimate, mean_estimate, percentile_interval
from study.analysis.estimators.resampling import resampled_weights, weighted_scores
from study.analysis.evidence import FoldTraining, out_of_fold
from study.analysis.verdict import DepthEvidence, accuracy_covariance
from study.executors import Failed, Finished, Job, LocalExecutor, Reported, Workload, cpu_slots

FOLDS = 5

FIGURES = ("accuracy", "qwk", "nll")
"""Out of fold: accuracy, kappa and negative log-likelihood."""

_QUICK = {"image_size": 32, "depth": 2, "head_phase.epochs": 1, "depth_phase.epochs": 2}
_BASE = "baseline"
_TIMED = "no layer-wise decay"
"""Its computations are those of the baseline. The baseline itself runs first and fills the activation cache."""

_LEAST = 1e-4
"""Smallest probability of a true class that counts: stored probabilities have half precision."""


class Key(NamedTuple):
    """One training."""

    name: str
    """Of its strategy."""
    repeat: int
    fold: int


Splits = Mapping[tuple[int, int], FoldTraining]
"""The trainings of one strategy by repeat and fold."""


def plan(args: argparse.Namespace) -> dict[Key, TrialConfig]:
    """Return all trainings; those on the same split are consecutive."""
    model = {"backbone.name": args.backbone, "backbone.weights": args.weights or "embedded"}
    shared = {**BASELINE, **model, "backbone.normalization": args.normalization, **(_QUICK if args.quick else {})}
    chosen = [strategy for strategy in STRATEGIES if not args.only or strategy.name in args.only]
    configs = {}
    for repeat, fold in product(range(args.repeats), range(FOLDS)):
        seed = repeat * FOLDS + fold
        split = {"split.seed": repeat, "split.folds": FOLDS, "split.fold": fold}
        for strategy in (Strategy(_BASE, "", {}), *chosen):
            values = {**shared, **strategy.changes, **split, "seed": seed, "augmentation.seed": seed}
            configs[Key(strategy.name, repeat, fold)] = with_values(TrialConfig(), values)
    return configs


def train_all(configs: Mapping[Key, TrialConfig], args: argparse.Namespace, console: Console) -> None:
    """Train and store what is not stored yet.

    Raises:
        DrftError: when a training fails.
    """
    missing = deque(key for key in configs if not stored_path(args.keep, key).exists())
    workload = Workload(str(args.data), workers=args.jobs)
    classes = len(open_dataset(str(args.data)).grades)
    with Progress(console=console) as bar, LocalExecutor(workload, cpu_slots(args.jobs)) as executor:
        task = bar.add_task("training", total=len(configs), completed=len(configs) - len(missing))
        for key, result in _train(missing, configs, executor):
            store(stored_path(args.keep, key), result, classes)
            bar.advance(task)


def store(path: Path, result: TrialResult, classes: int) -> None:
    """Write what is compared of a training, and the weights of its best epoch beside it."""
    predictions, records = result.predictions["validation"], result.records
    save_checkpoint(path.with_suffix(".safetensors"), result.best_state, result.config, classes)
    with whole_file(path) as draft, draft.open("wb") as file:
        np.savez(
            file,
            config=np.array(result.config.model_dump_json()),
            seconds=np.array(result.seconds),
            ids=np.array(predictions.ids, dtype=np.str_),
            grades=predictions.grades,
            probabilities=predictions.probabilities,
            scores=np.array([record.val_accuracy for record in records]),
            gaps=np.array([record.gap for record in records]),
        )


def load(path: Path, config: TrialConfig) -> tuple[FoldTraining, float]:
    """Return a stored training, and its seconds.

    Raises:
        DrftError: when it has other settings.
    """
    with np.load(path, allow_pickle=False) as stored:
        if parse_config(json.loads(str(stored["config"]))) != config:
            raise DrftError(f"{path}: this training has other settings; remove the file, or choose another --keep")
        training = FoldTraining(
            ids=tuple(stored["ids"].tolist()),
            **{name: stored[name] for name in ("grades", "probabilities", "scores", "gaps")},
            trial=0,
        )
        return training, float(stored["seconds"])


def stored_path(folder: Path, key: Key) -> Path:
    """Return the path of a stored training."""
    return folder / f"{key.name.replace(' ', '_').replace(',', '')}-{key.repeat}-{key.fold}.npz"


def _train(
    missing: deque[Key], configs: Mapping[Key, TrialConfig], executor: LocalExecutor
) -> Iterator[tuple[Key, TrialResult]]:
    running: dict[int, Key] = {}
    numbers = iter(range(len(missing)))
    while missing or running:
        while missing and len(running) < executor.slots:
            number, key = next(numbers), missing.popleft()
            running[number] = key
            executor.submit(Job(number, configs[key]))
        for event in executor.wait(None):
            match event:
                case Reported(number):
                    executor.answer(number, keep_on=True)
                case Finished(number, result):
                    yield running.pop(number), result
                case Failed(number, reason):
                    raise DrftError(f"{' '.join(map(str, running[number]))}: {reason}")


class Predicted(NamedTuple):
    """Out-of-fold predictions of one strategy."""

    evidence: DepthEvidence
    """Which images were right, and the gaps; its depth says nothing."""
    probabilities: NDArray[np.floating]
    """Shape (repeats, images, classes)."""

    @property
    def gap(self) -> float:
        """Mean of train minus validation accuracy."""
        return float(self.evidence.gaps.mean())

    @property
    def classes(self) -> NDArray[np.int8]:
        """The predicted classes, shape (repeats, images)."""
        classes: NDArray[np.int8] = self.probabilities.argmax(axis=2).astype(np.int8)
        return classes

    def losses(self, grades: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the negative log-likelihood of each image's true class, the mean over the repeats."""
        true = self.probabilities[:, np.arange(len(grades)), grades].astype(np.float64)
        losses: NDArray[np.float64] = -np.log(np.maximum(true, _LEAST)).mean(axis=0)
        return losses


def predict(splits: Splits, images: Sequence[str]) -> Predicted:
    """Return the out-of-fold predictions of a strategy, for the images in this order."""
    repeats = [[splits[repeat, fold] for fold in range(FOLDS)] for repeat in range(len(splits) // FOLDS)]
    return Predicted(*out_of_fold(repeats, images, 0, 0, 0))


def compare(
    predicted: Mapping[str, Predicted], reference: str, grades: NDArray[np.int64]
) -> dict[str, dict[str, Estimate]]:
    """Return the differences of all others from one of the strategies, on the same images in the same folds.

    Images and trainings are random samples for accuracy, with the covariances of the verdict; for kappa and likelihood
    the images alone.
    """
    names = list(predicted)
    covariance, _ = accuracy_covariance([each.evidence for each in predicted.values()])
    base, at = predicted[reference], names.index(reference)
    weights = resampled_weights(len(grades), RESAMPLES, 0)
    kappas = {name: _kappa(each, grades, weights) for name, each in predicted.items()}
    differences = {}
    for position, (name, one) in enumerate(predicted.items()):
        if name == reference:
            continue
        accuracy = float(one.evidence.correct.mean() - base.evidence.correct.mean())
        variance = covariance[position, position] + covariance[at, at] - 2 * covariance[position, at]
        reach = float(stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(max(variance, 0.0)))
        kappa = _kappa(one, grades)[0] - _kappa(base, grades)[0]
        differences[name] = {
            "accuracy": Estimate(accuracy, accuracy - reach, accuracy + reach, len(grades)),
            "qwk": Estimate(float(kappa), *percentile_interval(kappas[name] - kappas[reference]), len(grades)),
            "nll": mean_estimate(one.losses(grades) - base.losses(grades)),
        }
    return differences


def _kappa(
    predicted: Predicted, grades: NDArray[np.int64], weights: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return the kappa on weighted images, the mean over the repeats, shape (resamples,)."""
    weights = np.ones((1, len(grades)), dtype=np.float32) if weights is None else weights
    kappas: NDArray[np.float32] = weighted_scores(predicted.classes, grades, weights, "qwk").mean(axis=1)
    return kappas


def table(rows: Sequence[Mapping[str, Any]]) -> ResultTable:
    """Return titles and cells: differences from the baseline with their intervals."""
    sources = {**{strategy.name: strategy.source for strategy in STRATEGIES}, **SOURCES}
    titles = ("strategy", "source", "accuracy, points", "QWK", "NLL", "gap, points", "time")
    cells = [
        [
            row["name"],
            sources[row["name"]],
            *(_cell(figure, *row[figure]) for figure in FIGURES),
            f"{100 * row['gap']:+.1f}",
            f"{row['seconds']:.1f} x" if row["seconds"] else "",
        ]
        for row in rows
    ]
    return titles, cells


def _cell(figure: str, value: float, low: float | None, high: float | None) -> str:
    scale, form = (100, "+.1f") if figure == "accuracy" else (1, "+.3f")
    if low is None or high is None:
        return f"{scale * value:{form}}"
    return f"{scale * value:{form}} ({scale * low:{form}} to {scale * high:{form}})"


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the notes below the table: baseline, method, and what the intervals show."""
    base, rows = result["baseline"], result["strategies"]
    shown = {
        row["name"]: [
            f"{figure} {_cell(figure, *row[figure])}"
            for figure in FIGURES
            if row[figure][1] is not None and (row[figure][1] > 0 or row[figure][2] < 0)
        ]
        for row in rows
    }
    baseline = (
        f"Baseline, out of fold on {result['images']} images, mean of {result['repeats']} repeats of {FOLDS} folds: "
        f"accuracy {100 * base['accuracy']:.1f} %, QWK {base['qwk']:.3f}, NLL {base['nll']:.3f}, "
        f"gap {100 * base['gap']:.1f} points."
    )
    method = (
        "Each fold is scored at the epoch that the other folds choose. Differences are paired by image. The 95 % "
        "intervals of accuracy take images and trainings for random samples; those of QWK and NLL the images alone, so "
        "they are too narrow. Settings are those of the sources or the middle of their "
        "range; neither the strategies nor the baseline were tuned. Times, of the median training and beside other "
        f"work, are relative to '{_TIMED}', whose computations are those of the baseline; the baseline itself runs "
        "first and fills the cache."
    )
    combined = (
        f"Soup and ensemble are of {', '.join(COMBINED)}, fixed beforehand. They and WiSE-FT use the weights of each "
        "training's own best epoch, and are compared with the baseline at its own best epoch. That is the highest of "
        "several accuracies on the images that are scored, which flatters the baseline more than a mixture."
    )
    count = len(rows) * len(FIGURES)
    differing = [f"{name} ({', '.join(figures)})" for name, figures in shown.items() if figures]
    chance = (
        f"{count} intervals: {0.05 * count:.0f} or more exclude 0 by chance alone. "
        f"Excluding 0: {'; '.join(differing) or 'none'}."
    )
    nothing = [name for name, figures in shown.items() if not figures]
    return [baseline, method, combined, chance, f"No difference is shown for: {', '.join(nothing) or 'none'}."]


def combine_all(trained: Mapping[str, Splits], args: argparse.Namespace) -> Mapping[str, Splits]:
    """Return the combined models as trainings of one epoch; none if a training that they need was left out."""
    combined: dict[str, dict[tuple[int, int], FoldTraining]] = {}
    if not trained.keys() >= set(COMBINED):
        return {}
    dataset = open_dataset(str(args.data))
    for (repeat, fold), training in trained[_BASE].items():
        paths = {name: stored_path(args.keep, Key(name, repeat, fold)) for name in COMBINED}
        checkpoints = {name: path.with_suffix(".safetensors") for name, path in paths.items()}
        for name, probabilities, gap in combine(dataset, checkpoints):
            one_epoch = training._replace(probabilities=probabilities[None], scores=np.zeros(1), gaps=np.array([gap]))
            combined.setdefault(name, {})[repeat, fold] = one_epoch
    return combined


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train and compare; return the result as it is written to JSON."""
    configs = plan(args)
    train_all(configs, args, console)
    trained: dict[str, dict[tuple[int, int], FoldTraining]] = {}
    seconds: dict[str, list[float]] = {}
    for key, config in configs.items():
        training, taken = load(stored_path(args.keep, key), config)
        trained.setdefault(key.name, {})[key.repeat, key.fold] = training
        seconds.setdefault(key.name, []).append(taken)
    parts = trained[_BASE].values()
    grade_of = {name: grade for part in parts for name, grade in zip(part.ids, part.grades, strict=True)}
    images = sorted(grade_of)
    grades = np.array([grade_of[name] for name in images], dtype=np.int64)
    by_reference = {
        reference: {name: predict(splits, images) for name, splits in splits_of.items()}
        for reference, splits_of in ((_BASE, trained), (KEPT, combine_all(trained, args)))
        if splits_of
    }
    base, rows = by_reference[_BASE][_BASE], []
    for reference, predicted in by_reference.items():
        for name, figures in compare(predicted, reference, grades).items():
            ratios = [one / other for one, other in zip(seconds.get(name, ()), seconds.get(_TIMED, ()), strict=False)]
            rows.append(
                {
                    "name": name,
                    **{figure: [estimate.value, estimate.low, estimate.high] for figure, estimate in figures.items()},
                    "gap": predicted[name].gap - predicted[reference].gap,
                    "seconds": float(np.median(ratios)) if ratios else None,
                }
            )
    return {
        **describe_run("strategies", f"{Path(args.data).name}, {args.backbone}"),
        "repeats": args.repeats,
        "images": len(images),
        "baseline": {
            "accuracy": float(base.evidence.correct.mean()),
            "qwk": float(_kappa(base, grades)[0]),
            "nll": float(base.losses(grades).mean()),
            "gap": base.gap,
        },
        "strategies": rows,
    }


def main() -> None:
    """Train, compare, print, write."""
    parser = command_parser("strategies", __doc__, out="results/reference")
    parser.add_argument("--data", default="synthetic", help="data source, as for `drft-study run --data`")
    add_model_options(parser)
    parser.add_argument("--repeats", type=int, default=3, help="of the cross-validation; default: 3")
    parser.add_argument("--only", nargs="*", default=(), help="names of strategies; default: all")
    parser.add_argument("--jobs", type=int, default=len(cpu_slots()), help="trainings at once")
    parser.add_argument("--quick", action="store_true", help="tiny images, 1 + 2 epochs, two repeats")
    parser.add_argument("--keep", type=Path, default=Path("results/strategies"), help="folder for the trainings")
    args, console = parser.parse_args(), Console()
    set_backbone(args)
    args.repeats = 2 if args.quick else args.repeats
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # in the small steps of such networks, more threads wait for each other
    result = measure(args, console)
    publish("Strategies", args.out / "strategies", result, [table(result["strategies"])], notes(result), console)


if __name__ == "__main__":
    main()
