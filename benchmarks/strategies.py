"""Effects of fine-tuning strategies on real images: each strategy against one baseline, seed by seed.

::

    python -m benchmarks.strategies --data IDRID --weights FILE --normalization half
    python -m benchmarks.strategies --quick

Every strategy is trained once for each seed. The seed fixes split, head, batch order and views, so a strategy and the
baseline of the same seed see the same images. Trainings are stored: the same command resumes an interrupted run. The
test images are not used. No strategy is tuned, so gains that need other settings do not show.
"""

import argparse
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from scipy import stats

from benchmarks.arguments import add_model_options, command_parser, set_backbone
from benchmarks.combined_models import COMBINED, SOURCES, combine
from benchmarks.machine import describe_run
from benchmarks.pages import ResultTable, publish
from benchmarks.strategy_list import BASELINE, STRATEGIES, Strategy
from drft.config.trial_config import TrialConfig, parse_config, with_values
from drft.data import open_dataset
from drft.errors import DrftError
from drft.files.atomic import whole_file
from drft.models.checkpoint import save_checkpoint
from drft.training.records import TrialResult
from study.executors import Failed, Finished, Job, LocalExecutor, Reported, Workload, cpu_slots

FIGURES = ("accuracy", "qwk", "nll", "gap")
"""At the best epoch: validation accuracy, kappa and negative log likelihood, and train minus validation accuracy."""

_QUICK = {"image_size": 32, "depth": 2, "head_phase.epochs": 1, "depth_phase.epochs": 2}
_PERCENT = {"accuracy", "gap"}
_BASE = "baseline"
_TIMED = "no layer-wise decay"
"""Its computations are those of the baseline. The baseline itself runs first and fills the activation cache."""

Key = tuple[str, int]
"""Name of a strategy and seed."""


def plan(args: argparse.Namespace) -> dict[Key, TrialConfig]:
    """Return the trainings by strategy and seed; those of one seed are consecutive."""
    model = {"backbone.name": args.backbone, "backbone.weights": args.weights or "embedded"}
    shared = {**BASELINE, **model, "backbone.normalization": args.normalization, **(_QUICK if args.quick else {})}
    chosen = [strategy for strategy in STRATEGIES if not args.only or strategy.name in args.only]
    return {
        (strategy.name, seed): with_values(
            TrialConfig(),
            {**shared, **strategy.changes, "seed": seed, "split.seed": seed, "augmentation.seed": seed},
        )
        for seed in range(args.seeds)
        for strategy in (Strategy(_BASE, "", {}), *chosen)
    }


def figures(result: TrialResult) -> dict[str, float]:
    """Return the compared figures of a training."""
    best = result.best
    return {
        "accuracy": best.val_accuracy,
        "qwk": best.val_qwk,
        "nll": best.val_loss,
        "gap": best.gap,
        "step": best.step,
        "seconds": result.seconds,
    }


def train_all(
    configs: Mapping[Key, TrialConfig], args: argparse.Namespace, console: Console
) -> dict[Key, dict[str, float]]:
    """Train what is not stored yet; return the figures of all trainings.

    Raises:
        DrftError: when a training fails, or when a stored training has other settings.
    """
    paths = {key: stored_path(args.keep, *key) for key in configs}
    missing = deque(key for key, path in paths.items() if not path.exists())
    workload = Workload(str(args.data), workers=args.jobs)
    classes = len(open_dataset(str(args.data)).grades)
    with Progress(console=console) as bar, LocalExecutor(workload, cpu_slots(args.jobs)) as executor:
        task = bar.add_task("training", total=len(configs), completed=len(configs) - len(missing))
        for key, result in _train(missing, configs, executor):
            save_checkpoint(paths[key].with_suffix(".safetensors"), result.best_state, result.config, classes)
            with whole_file(paths[key]) as draft:
                draft.write_text(json.dumps({"config": result.config.model_dump(), **figures(result)}))
            bar.advance(task)
    trained = {}
    for key, path in paths.items():
        stored = json.loads(path.read_text())
        if parse_config(stored.pop("config")) != configs[key]:
            raise DrftError(f"{path}: this training has other settings; remove the file, or choose another --keep")
        trained[key] = stored
    return trained


def stored_path(folder: Path, name: str, seed: int) -> Path:
    """Return the path of a stored training."""
    return folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}.json"


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
                    raise DrftError(f"{running[number][0]}, seed {running[number][1]}: {reason}")


def corrected_interval(differences: Sequence[float], ratio: float) -> tuple[float, float, float]:
    """Return mean and 95 % interval of paired differences over splits of one data set.

    The splits share images, so the t interval's variance is multiplied by ``1/k + validation/train`` instead of
    ``1/k`` (Nadeau & Bengio 2003, "Inference for the Generalization Error").

    Args:
        differences: one per split.
        ratio: validation images over training images.
    """
    values = np.asarray(differences, dtype=np.float64)
    reach = float(stats.t.ppf(0.975, len(values) - 1) * np.sqrt((1 / len(values) + ratio) * values.var(ddof=1)))
    mean = float(values.mean())
    return mean, mean - reach, mean + reach


def compare(trained: Mapping[Key, Mapping[str, float]], ratio: float) -> list[dict[str, Any]]:
    """Return, per strategy, the paired difference from the baseline in each figure, and the ratio of seconds."""
    seeds = sorted({seed for name, seed in trained if name == _BASE})
    rows = []
    for name in dict.fromkeys(name for name, _ in trained if name != _BASE):
        row: dict[str, Any] = {"name": name}
        for figure in FIGURES:
            changes = [trained[name, seed][figure] - trained[_BASE, seed][figure] for seed in seeds]
            row[figure] = corrected_interval(changes, ratio)
        times = [(trained[name, seed].get("seconds"), trained.get((_TIMED, seed), {}).get("seconds")) for seed in seeds]
        ratios = [seconds / timed for seconds, timed in times if seconds and timed]
        row["seconds"] = float(np.median(ratios)) if ratios else None
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> ResultTable:
    """Return titles and cells: differences from the baseline with their intervals."""
    sources = {**{strategy.name: strategy.source for strategy in STRATEGIES}, **SOURCES}
    titles = ("strategy", "source", "accuracy, points", "QWK", "NLL", "gap, points", "time")
    cells = [
        [
            row["name"],
            sources[row["name"]],
            *(_cell(figure, *row[figure]) for figure in FIGURES),
            f"{row['seconds']:.1f} x" if row["seconds"] else "",
        ]
        for row in rows
    ]
    return titles, cells


def _cell(figure: str, mean: float, low: float, high: float) -> str:
    if mean == low == high == 0:
        return "as before"
    if figure in _PERCENT:
        return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return the notes below the table: baseline, method, and the intervals that exclude 0."""
    base, rows, seeds = result["baseline"], result["strategies"], result["seeds"]
    excluding = [
        f"{row['name']} ({figure} {_cell(figure, *row[figure])})"
        for row in rows
        for figure in FIGURES
        if row[figure][1] > 0 or row[figure][2] < 0
    ]
    means = ", ".join(
        f"{figure} {100 * base[figure]:.1f} %" if figure in _PERCENT else f"{figure} {base[figure]:.3f}"
        for figure in FIGURES
    )
    baseline = (
        f"Baseline, mean over {seeds} seeds: {means}. Validation of {result['validation']} images at the best epoch, "
        "which is chosen on the same images: all figures are optimistic in the same way."
    )
    method = (
        "Differences are paired by seed (split, head, batches and views), with 95 % intervals that account for splits "
        "sharing images (Nadeau & Bengio 2003). Settings are those of the sources or the middle of their range; "
        "neither the strategies nor the baseline were tuned. Times, of the median seed and beside other work, are "
        f"relative to '{_TIMED}', whose computations are those of the baseline; the baseline itself runs first and "
        "fills the cache."
    )
    combined = (
        f"Soups and ensembles are of {', '.join(COMBINED)}, fixed beforehand; the temperature of one half of the "
        "images is fitted on the other; the greedy soup is chosen on the images that score it, so it is optimistic."
    )
    chance = (
        f"{len(rows) * len(FIGURES)} intervals: about {0.05 * len(rows) * len(FIGURES):.0f} exclude 0 by chance alone. "
        f"Excluding 0: {'; '.join(excluding) or 'none'}."
    )
    return [baseline, method, combined, chance]


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train and compare; return the result as it is written to JSON."""
    configs = plan(args)
    trained = train_all(configs, args, console)
    fraction = next(iter(configs.values())).split.validation_fraction
    dataset = open_dataset(str(args.data))
    for seed in range(args.seeds):
        if all((name, seed) in configs for name in COMBINED):
            checkpoints = {name: stored_path(args.keep, name, seed).with_suffix(".safetensors") for name in COMBINED}
            trained |= {(name, seed): combined for name, combined in combine(dataset, checkpoints)}
    training = sum(image.origin != "test" for image in dataset.images)
    base = [values for (name, _), values in trained.items() if name == _BASE]
    return {
        **describe_run("strategies", f"{Path(args.data).name}, {args.backbone}"),
        "seeds": args.seeds,
        "validation": round(training * fraction),
        "baseline": {figure: float(np.mean([values[figure] for values in base])) for figure in (*FIGURES, "seconds")},
        "strategies": compare(trained, fraction / (1 - fraction)),
        "trainings": [{"name": name, "seed": seed, **values} for (name, seed), values in trained.items()],
    }


def main() -> None:
    """Train, compare, print, write."""
    parser = command_parser("strategies", __doc__, out="results/reference")
    parser.add_argument("--data", default="synthetic", help="data source, as for `drft-study run --data`")
    add_model_options(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=(), help="names of strategies; default: all")
    parser.add_argument("--jobs", type=int, default=len(cpu_slots()), help="trainings at once")
    parser.add_argument("--quick", action="store_true", help="tiny images, 1 + 2 epochs, two seeds")
    parser.add_argument("--keep", type=Path, default=Path("results/strategies"), help="folder for the trainings")
    args, console = parser.parse_args(), Console()
    set_backbone(args)
    args.seeds = 2 if args.quick else args.seeds
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # in the small steps of such networks, more threads wait for each other
    result = measure(args, console)
    publish("Strategies", args.out / "strategies", result, [table(result["strategies"])], notes(result), console)


if __name__ == "__main__":
    main()
