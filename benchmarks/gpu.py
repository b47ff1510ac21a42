"""Trainings on one GPU: correctness, time per step, many trainings at once, and a plain Optuna loop on the same card.

::

    python -m benchmarks.gpu --data FOLDER --weights FILE

Parts begin until almost eight minutes are over, the most important ones first. They run in processes of their own with
a time limit, and what they measured is written when they end: one that fails or takes too long costs the others
nothing. Parts that are run again replace their results in the file.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
from rich.console import Console
from safetensors.torch import save_file

from benchmarks.arguments import command_parser
from benchmarks.gpu_parts import PARTS, Result
from benchmarks.machine import describe_run
from benchmarks.pages import ResultTable, publish

_ROOT = Path(__file__).parent.parent

_ALL = (
    "study:8 plain:2 tests study:8:resnet50 plain:1:resnet50 mps:8 together mps:16 study:1 study:2 study:4 study:16 "
    "card+steps training agreement study:8:vit_small_patch16_224 plain:1:vit_small_patch16_224"
)
"""In order of importance, since the time may not be enough for all."""

_TOTAL = 470.0
"""Seconds that all parts may take."""

_BACKBONE = "mobilenetv2_100"

_STUDIES = {"study": "", "mps": ", MPS"}
"""Parts that run a study, and how the table names them."""


def main() -> None:
    """Run the parts, print and write what they measured."""
    parser = command_parser("gpu", __doc__)
    parser.add_argument("--data", required=True, help="data source, as for `drft-study run --data`")
    parser.add_argument("--weights", required=True, help=f"weight file of {_BACKBONE}")
    parser.add_argument("--image-size", type=int, default=224, help="height and width in pixels")
    parser.add_argument(
        "--parts", default=_ALL, help="NAME, NAME:TRAININGS or NAME:TRAININGS:BACKBONE, with spaces between"
    )
    parser.add_argument("--limit", type=float, default=100, help="seconds that a part may take")
    parser.add_argument(
        "--seconds", type=float, default=30, help="seconds of each study, the start of workers included"
    )
    args, console = parser.parse_args(), Console()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    stem = args.out / f"gpu-{name.lower().replace('nvidia ', '').replace(' ', '-')}"
    stored = stem.with_suffix(".json")
    parts: dict[str, Result] = json.loads(stored.read_text())["parts"] if stored.exists() else {}
    started = time.perf_counter()
    for word in args.parts.split():
        left = _TOTAL - (time.perf_counter() - started)
        if left < 20:
            console.print(f"{word}: not run, the time is over")
            continue
        for part, result in _run(args, word, min(args.limit, left)):
            parts[part] = result
            line = f"{time.perf_counter() - started:.0f} s, {part}: {json.dumps(result)[:300]}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        write(parts, stem, name, console)


def write(parts: Mapping[str, Result], stem: Path, card: str, console: Console) -> None:
    """Print and write what was measured so far."""
    result = {**describe_run("gpu", card), "parts": parts}
    publish("GPU", stem, result, tables(parts), notes(parts), console)


def _run(args: argparse.Namespace, word: str, limit: float) -> Iterator[tuple[str, Result]]:
    """Run parts in one process; yield the result of each, or why there is none."""
    names, number, backbone = (*word.split(":"), "", "")[:3]
    study = names in _STUDIES
    with TemporaryDirectory(prefix="drft-gpu-") as temporary:
        folder = Path(temporary)
        weights = str(random_weights(backbone, folder)) if backbone else args.weights
        out, command = folder / "result.json", [sys.executable, "-m", "benchmarks.gpu_parts"]
        command += ["study" if study else names, str(out), f"--data={args.data}", f"--weights={weights}"]
        command += [f"--backbone={backbone or _BACKBONE}", f"--image-size={args.image_size}"]
        command.append(f"--seconds={args.seconds}")
        if number:
            command.append(f"--at-once={number}" if study else f"--trainings={number}")
        service = _multi_process_service(folder) if names == "mps" else contextlib.nullcontext(dict(os.environ))
        try:
            with service as environment:
                process = subprocess.run(
                    command, capture_output=True, text=True, timeout=limit, check=False, cwd=_ROOT, env=environment
                )
            fault = process.stderr[-2000:]
        except subprocess.TimeoutExpired:
            fault = f"not ended after {limit:.0f} s"
        except (OSError, subprocess.CalledProcessError) as error:
            fault = str(error)
        results: dict[str, Result] = json.loads(out.read_text()) if out.exists() else {}
    for name in names.split("+"):
        result = results.get("study" if study else name, {"failed": fault})
        yield (word if study or names in PARTS else name), result


@contextlib.contextmanager
def _multi_process_service(folder: Path) -> Iterator[dict[str, str]]:
    """Start NVIDIA's Multi-Process Service, which lets kernels of several processes run at the same time.

    Yields:
        The environment of processes that use it.
    """
    own = {f"CUDA_MPS_{name}_DIRECTORY": str(folder / name.lower()) for name in ("PIPE", "LOG")}
    environment, control = {**os.environ, **own}, ["nvidia-cuda-mps-control"]
    for path in own.values():
        Path(path).mkdir()
    subprocess.run([*control, "-d"], env=environment, check=True)
    try:
        yield environment
    finally:
        subprocess.run(control, input="quit\n", text=True, env=environment, check=False)


def random_weights(backbone: str, folder: Path) -> Path:
    """Write random weights of a backbone to a file: for parts that measure time alone, as no training draws them."""
    path = folder / f"{backbone}.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(backbone).state_dict(), path)
    return path


def tables(parts: Mapping[str, Result]) -> list[ResultTable]:
    """Return the tables of trainings in one process, of steps, and of studies and plain loops."""
    found: list[ResultTable] = [
        (("training in a warm process", "seconds", "in kernels", "share"), list(_training_rows(parts))),
        (("step", "as a graph", "one by one", "in kernels", "norms apart", "evaluation"), list(_step_rows(parts))),
        (
            ("steps of several trainings", "in turn", "on streams", "4 stacked", "16 stacked"),
            list(_together_rows(parts)),
        ),
        (("backbone", "program", "trainings a minute", "kernel running", "memory"), list(_rate_rows(parts))),
    ]
    return [(columns, rows) for columns, rows in found if rows]


def _training_rows(parts: Mapping[str, Result]) -> Iterator[tuple[str, ...]]:
    for name, row in parts.get("training", {}).items():
        if isinstance(row, dict):
            share = row["kernel_seconds"] / row["seconds"]
            yield name, f"{row['seconds']:.2f}", f"{row['kernel_seconds']:.2f} s", f"{share:.0%}"


def _step_rows(parts: Mapping[str, Result]) -> Iterator[tuple[str, ...]]:
    columns = ("graph_ms", "one_by_one_ms", "kernel_ms", "norms_apart_graph_ms", "evaluation_ms")
    for name, row in parts.get("steps", {}).items():
        if isinstance(row, dict):
            yield name, *(f"{row[column]:.2f} ms" if column in row else "" for column in columns)


def _together_rows(parts: Mapping[str, Result]) -> Iterator[tuple[str, ...]]:
    columns = ("in_turn_ms", "on_streams_ms", "stacked_4_ms", "stacked_16_ms")
    for name, row in parts.get("together", {}).items():
        if isinstance(row, dict):
            cells = (row.get(column, "") for column in columns)
            yield name, *(f"{cell:.1f} ms" if isinstance(cell, float) else "cannot" for cell in cells)


def _rate_rows(parts: Mapping[str, Result]) -> Iterator[tuple[str, ...]]:
    for word, result in parts.items():
        name, number, backbone = (*word.split(":"), "", "")[:3]
        if name not in {*_STUDIES, "plain"}:
            continue
        program = f"drft-study, {number} at once{_STUDIES[name]}" if name in _STUDIES else "plain Optuna loop"
        if "per_minute" in result:
            share, memory = result.get("kernel_share"), result.get("memory_mib")
            cells = (
                f"{result['per_minute']:.1f}",
                "" if share is None else f"{share:.0%}",
                "" if memory is None else f"{memory / 1024:.1f} GiB",
            )
        else:
            cells = ("not measured: " + _last_line(result), "", "")
        yield backbone or _BACKBONE, program, *cells


def notes(parts: Mapping[str, Result]) -> list[str]:
    """Return what is not in a table."""
    lines = []
    if card := parts.get("card"):
        rates = (
            f"{card['copied_bytes_per_second'] / 1e12:.1f} TB/s copied, {card['bf16_flops'] / 1e12:.0f} TFLOP/s in bf16"
        )
        lines.append(f"{card['name']}, {card['memory'] / 2**30:.0f} GiB; {rates}; CUDA {card['cuda']}.")
    if tests := parts.get("tests"):
        lines.append(f"GPU tests: {tests.get('summary', _last_line(tests))}")
        lines += tests.get("failures", [])
    if agreement := parts.get("agreement"):
        for name, row in agreement.items():
            if isinstance(row, dict):
                differences = ", ".join(f"{value:.4f}" for value in row["largest_difference"])
                lines.append(f"Agreement, {name}: largest difference of a probability by epoch {differences}.")
    for name, result in parts.items():
        if "failed" in result and name.partition(":")[0] not in {*_STUDIES, "plain"}:
            lines.append(f"{name}: {_last_line(result)}")
    missing = sorted({part for word in _ALL.split() for part in word.split("+")} - {*parts})
    if missing:
        lines.append(f"Not run yet: {', '.join(missing)}.")
    lines.append(
        "kernel running: share of the time, as the driver reports it. A rate counts from when every worker has ended "
        "its first training. 3 + 7 epochs, batches of 32, every depth equally often, bf16 unless it says otherwise."
    )
    return lines


def _last_line(result: Mapping[str, Any]) -> str:
    lines = str(result.get("failed", "")).strip().splitlines()
    return lines[-1][:200] if lines else "it ended without a training"


if __name__ == "__main__":
    main()
