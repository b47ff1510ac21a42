"""What fine-tuning strategies change on real images: each against one baseline, seed by seed.

::

    python -m benchmarks.strategies --data IDRID --weights FILE --normalization half
    python -m benchmarks.strategies --quick

Every strategy is trained once for each seed, of which split, head, batch order and views follow, so that it and the
baseline of a seed see the same images. Trainings are kept: the same command, run again, goes on where it was. The
test images are not looked at. None is tuned: what a strategy gains with settings of its own is not seen here.
"""

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from scipy import stats

from benchmarks.combined_models import MIXED, SOURCES, mix
from benchmarks.machine import describe_machine, public_command
from benchmarks.pages import markdown_page, show_table, write_result
from benchmarks.strategy_list import BASELINE, STRATEGIES, Strategy
from drft.config.trial_config import NORMALIZATIONS, TrialConfig, parse_config, with_values
from drft.data import open_dataset
from drft.errors import DrftError
from drft.files.atomic import whole_file
from drft.models.checkpoint import save_checkpoint
from drft.models.weights import EMBEDDED_BACKBONE
from drft.training.records import TrialResult
from study.executors import Failed, Finished, Job, LocalExecutor, Reported, Workload, cpu_slots

FIGURES = ("accuracy", "qwk", "nll", "gap")
"""Of the best step: validation accuracy, kappa and negative log likelihood, and train minus validation accuracy."""

_QUICK = {"image_size": 32, "depth": 2, "head_phase.epochs": 1, "depth_phase.epochs": 2}
_PERCENT = {"accuracy", "gap"}
_BASE = "baseline"
_TIMED = "no layer-wise decay"
"""Computes what the baseline computes, which runs first of a seed and fills the cache of activations for all."""


def plan(wanted: argparse.Namespace) -> dict[tuple[str, int], TrialConfig]:
    """Return the trainings by strategy and seed; those of one seed come together."""
    known = {"backbone.name": wanted.backbone, "backbone.weights": wanted.weights or "embedded"}
    shared = {**BASELINE, **known, "backbone.normalization": wanted.normalization, **(_QUICK if wanted.quick else {})}
    chosen = [Strategy(_BASE, "", {}), *(each for each in STRATEGIES if not wanted.only or each.name in wanted.only)]
    seeds = {seed: {"seed": seed, "split.seed": seed, "augmentation.seed": seed} for seed in range(wanted.seeds)}
    return {
        (each.name, seed): with_values(TrialConfig(), {**shared, **each.changes, **values})
        for seed, values in seeds.items()
        for each in chosen
    }


def figures(result: TrialResult) -> dict[str, float]:
    """Return what is compared of a training."""
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
    planned: Mapping[tuple[str, int], TrialConfig], wanted: argparse.Namespace, console: Console
) -> dict[tuple[str, int], dict[str, float]]:
    """Train what is not kept yet; return the figures of all trainings.

    Raises:
        DrftError: when a training fails.
    """
    kept = {key: _kept(wanted.keep, *key) for key in planned}
    todo = deque(key for key, path in kept.items() if not path.exists())
    workload = Workload(str(wanted.data), workers=wanted.jobs)
    classes = len(open_dataset(str(wanted.data)).grades)
    with Progress(console=console) as bar, LocalExecutor(workload, cpu_slots(wanted.jobs)) as executor:
        task = bar.add_task("training", total=len(planned), completed=len(planned) - len(todo))
        for key, result in _trained(todo, planned, executor):
            save_checkpoint(kept[key].with_suffix(".safetensors"), result.best_state, result.config, classes)
            with whole_file(kept[key]) as draft:
                draft.write_text(json.dumps({"config": result.config.model_dump(), **figures(result)}))
            bar.advance(task)
    return {key: _read(path, planned[key]) for key, path in kept.items()}


def _kept(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}.json"


def _read(path: Path, config: TrialConfig) -> dict[str, float]:
    """Return what a kept training says.

    Raises:
        DrftError: when it is of another configuration.
    """
    told: dict[str, Any] = json.loads(path.read_text())
    if parse_config(told.pop("config")) != config:
        raise DrftError(f"{path}: a training with other settings is kept there: remove it, or name another --keep")
    return told


def _trained(
    todo: "deque[tuple[str, int]]", planned: Mapping[tuple[str, int], TrialConfig], executor: LocalExecutor
) -> Iterator[tuple[tuple[str, int], TrialResult]]:
    running: dict[int, tuple[str, int]] = {}
    numbers = iter(range(len(todo)))
    while todo or running:
        while todo and len(running) < executor.slots:
            number, key = next(numbers), todo.popleft()
            running[number] = key
            executor.submit(Job(number, planned[key]))
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

    The splits share images, so the t interval's variance is taken ``1/k + validation/train`` times instead of
    ``1/k`` (Nadeau & Bengio 2003, "Inference for the Generalization Error").

    Args:
        differences: one per split.
        ratio: validation images over training images.
    """
    values = np.asarray(differences, dtype=np.float64)
    reach = float(stats.t.ppf(0.975, len(values) - 1) * np.sqrt((1 / len(values) + ratio) * values.var(ddof=1)))
    mean = float(values.mean())
    return mean, mean - reach, mean + reach


def compare(found: Mapping[tuple[str, int], Mapping[str, float]], ratio: float) -> list[dict[str, Any]]:
    """Return, per strategy, the paired difference from the baseline in each figure, and the ratio of seconds."""
    seeds = sorted({seed for name, seed in found if name == _BASE})
    rows = []
    for name in dict.fromkeys(name for name, _ in found if name != _BASE):
        pairs = [(found[name, seed], found[_BASE, seed]) for seed in seeds]
        row: dict[str, Any] = {"name": name}
        for figure in FIGURES:
            row[figure] = corrected_interval([mine[figure] - base[figure] for mine, base in pairs], ratio)
        timed = [(found[name, seed].get("seconds"), found.get((_TIMED, seed), {}).get("seconds")) for seed in seeds]
        ratios = [mine / usual for mine, usual in timed if mine and usual]
        row["seconds"] = float(np.median(ratios)) if ratios else None
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    """Return titles and cells: differences from the baseline with their intervals."""
    sources = {**{each.name: each.source for each in STRATEGIES}, **SOURCES}
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
    """Return what has to be said of the table, and what stands out of it."""
    base, rows, seeds = result["baseline"], result["strategies"], result["seeds"]
    clear = [
        f"{row['name']} ({figure} {_cell(figure, *row[figure])})"
        for row in rows
        for figure in FIGURES
        if row[figure][1] > 0 or row[figure][2] < 0
    ]
    told = ", ".join(
        f"{figure} {100 * base[figure]:.1f} %" if figure in _PERCENT else f"{figure} {base[figure]:.3f}"
        for figure in FIGURES
    )
    optimism = (
        f"Baseline, mean over {seeds} seeds: {told}. Validation of {result['validation']} images at the best "
        "step, which is picked on the same images: all figures are optimistic by the same habit."
    )
    method = (
        "Differences are paired by seed (split, head, batches and views), with 95 % intervals that allow for splits "
        "sharing images (Nadeau & Bengio 2003). Settings are those of the sources or the middle of their range; "
        "nothing was tuned, for the baseline no more than for the others. Times, of the median seed and beside other "
        f"work, are those of '{_TIMED}', which computes what the baseline computes; that one comes first and fills "
        "the cache."
    )
    mixed = (
        f"Mixtures are of {', '.join(MIXED)}, named beforehand; the temperature of one half of the images is "
        "fitted on the other; a greedy soup is chosen on the images that judge it, which flatters it."
    )
    chance = (
        f"{len(rows) * len(FIGURES)} intervals: about {0.05 * len(rows) * len(FIGURES):.0f} exclude 0 by chance alone. "
        f"Excluding 0: {'; '.join(clear) or 'none'}."
    )
    return [optimism, method, mixed, chance]


def measure(wanted: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train and compare; return what came out, as it is written to JSON."""
    planned = plan(wanted)
    found = train_all(planned, wanted, console)
    fraction = next(iter(planned.values())).split.validation_fraction
    dataset = open_dataset(str(wanted.data))
    for seed in range(wanted.seeds):
        kept = {name: _kept(wanted.keep, name, seed).with_suffix(".safetensors") for name in MIXED}
        if all((name, seed) in planned for name in MIXED):
            found |= {(name, seed): told for name, told in mix(dataset, kept)}
    training = sum(image.origin != "test" for image in dataset.images)
    base = [figures for (name, _), figures in found.items() if name == _BASE]
    return {
        "command": public_command("benchmarks.strategies", sys.argv[1:]),
        "machine": describe_machine(),
        "label": f"{Path(wanted.data).name}, {wanted.backbone}",
        "seeds": wanted.seeds,
        "validation": round(training * fraction),
        "baseline": {figure: float(np.mean([each[figure] for each in base])) for figure in (*FIGURES, "seconds")},
        "strategies": compare(found, fraction / (1 - fraction)),
        "trainings": [{"name": name, "seed": seed, **told} for (name, seed), told in found.items()],
    }


def main() -> None:
    """Train, compare, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.strategies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="synthetic", help="as `drft-study run --data` takes it")
    parser.add_argument("--weights", help="weight file; without it the embedded weights")
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="auto")
    parser.add_argument("--backbone", help=f"{EMBEDDED_BACKBONE}, or mobilenetv2_100 with --weights")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=(), help="names of strategies; all without it")
    parser.add_argument("--jobs", type=int, default=len(cpu_slots()), help="trainings at once")
    parser.add_argument("--quick", action="store_true", help="tiny images, 1 + 2 epochs, two seeds")
    parser.add_argument("--keep", type=Path, default=Path("results/strategies"), help="where trainings are kept")
    parser.add_argument("--out", type=Path, default=Path("results/reference"))
    wanted = parser.parse_args()
    wanted.backbone = wanted.backbone or ("mobilenetv2_100" if wanted.weights else EMBEDDED_BACKBONE)
    wanted.seeds = 2 if wanted.quick else wanted.seeds
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # more threads, in the small steps of such networks, wait for each other
    console = Console()
    result = measure(wanted, console)
    shown = table(result["strategies"])
    show_table("Strategies: differences from the baseline", shown, console)
    page = markdown_page("Strategies", result, [shown], notes(result))
    write_result(wanted.out / "strategies", result, page, notes(result), console)


if __name__ == "__main__":
    main()
