"""The parts of ``benchmarks.gpu``, each in a process of its own.

``python -m benchmarks.gpu_parts PART+PART RESULT --data ... --weights ...`` is the command of that process. Without a
GPU, ``study`` and ``plain`` run on the CPU.
"""

import argparse
import contextlib
import copy
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import TrialState
from rich.console import Console
from torch import Tensor, nn

from benchmarks.ours import enqueue, study_options
from benchmarks.plain import DEVICE
from benchmarks.plain import run as run_plain
from benchmarks.plan import BenchmarkPlan, choose_trials, link_images, plan_configs, write_jpegs
from benchmarks.stacked import Suffix, loss_function
from drft.config.trial_config import SplitConfig, TrialConfig, parse_config
from drft.data import open_dataset
from drft.data.progress import silent
from drft.feature_cache.split_model import split_model
from drft.training.regularization.mixup import MixedBatch
from drft.training.session import TrainingSession
from drft.training.trainer import Trainer, shuffled_batches
from drft.training.trial import run_trial
from study.run import run_plan
from study.setup.plan import prepare
from study.storage.open import close_storage, open_storage

Result = dict[str, Any]

_ROOT = Path(__file__).parent.parent
_STEPS = 30
"""Optimizer steps that are timed."""

_TRIALS = 240
"""Trainings in the queue of a study: more than it can run before its time limit."""

_SAMPLE_MS = 200
"""Milliseconds between two readings of the card's use."""

_TOGETHER = 4
"""Trainings that step at the same time."""

_STACKED = (4, 16)
"""Trainings that are stacked."""


def card(_args: argparse.Namespace) -> Result:
    """Return name and memory of the card, and the two rates that bound all work on it."""
    properties = torch.cuda.get_device_properties(0)
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return {
        "name": properties.name,
        "memory": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "copied_bytes_per_second": 2 * source.nbytes / _seconds(lambda: target.copy_(source), 10),
        "bf16_flops": 2 * 8192**3 / _seconds(lambda: left @ right, 10),
    }


def tests(_args: argparse.Namespace) -> Result:
    """Run the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-m", "gpu", "tests/drft/training/test_gpu.py"]
    command += ["-n", "4", "--dist", "load"]
    wide = {**os.environ, "COLUMNS": "400"}  # a line that is too long loses the reason of a failure
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT, env=wide)
    lines = done.stdout.strip().splitlines()
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"code": done.returncode, "summary": lines[-1] if lines else done.stderr[-200:], "failures": failures}


def agreement(args: argparse.Namespace) -> Result:
    """Train one configuration on the CPU and on the GPU in fp32; on the GPU again, without a cache, and in bf16."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic; read when cuBLAS is first used
    torch.use_deterministic_algorithms(True, warn_only=True)
    dataset = open_dataset(args.data)
    values = {"depth": 4, "image_size": 128, "precision": "fp32", "depth_phase": {"epochs": 4}}
    config = parse_config(values, _config(args))
    cpu = run_trial(config, TrainingSession(dataset, device="cpu"))
    session = TrainingSession(dataset, device="cuda")
    gpu = run_trial(config, session)
    compared = {
        "gpu against cpu": (gpu, cpu),
        "gpu again": (run_trial(config, session), gpu),
        "gpu uncached": (run_trial(config, TrainingSession(dataset, device="cuda", cache_size=0)), gpu),
        "gpu bf16": (run_trial(parse_config({"precision": "bf16"}, config), session), gpu),
    }
    return {
        name: {
            "val_accuracy": [record.val_accuracy for record in one.records],
            "seconds": one.seconds,
            "largest_difference": _largest_differences(
                *(result.predictions["validation"].probabilities for result in (one, other))
            ),
        }
        for name, (one, other) in {"cpu": (cpu, cpu), **compared}.items()
    }


def _largest_differences(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> list[float]:
    """Return the largest difference of a probability in each epoch."""
    differences: list[float] = np.abs(np.subtract(one, other, dtype=np.float64)).max(axis=(1, 2)).tolist()
    return differences


def training(args: argparse.Namespace) -> Result:
    """Profile whole trainings in a warm process, one at a time: seconds, and the share of them in kernels."""
    session, base, result = TrainingSession(open_dataset(args.data), device="cuda"), _config(args), {}
    deepest = session.prepare(base).network.split_model.block_count
    run_trial(parse_config({"depth": deepest}, base), session)
    for depth in (deepest, deepest // 2, 0):
        config = parse_config({"depth": depth, "seed": 1}, base)
        seconds = run_trial(config, session).seconds
        kernels, slowest = _kernels(lambda config=config: run_trial(config, session))  # type: ignore[misc]
        result[f"depth {depth}"] = {"seconds": seconds, "kernel_seconds": kernels, "slowest_kernels": slowest}
    return result


def steps(args: argparse.Namespace) -> Result:
    """Time steps and evaluations by precision and depth: as a graph, one by one, and with batch norms apart."""
    dataset, result = open_dataset(args.data), {}
    for precision in ("bf16", "fp32", "fp16"):
        session = TrainingSession(dataset, device="cuda")
        base = parse_config({"precision": precision}, _config(args))
        deepest = session.prepare(base).network.split_model.block_count
        for depth in (deepest, deepest // 2, 0) if precision == "bf16" else (deepest,):
            config = parse_config({"depth": depth}, base)
            trainer, step = _trainer(session, config)
            row: dict[str, float] = {}
            if trainer.graphs is not None:
                row["graph_ms"] = _milliseconds(step, _STEPS)
                trainer.graphs = None
            row["one_by_one_ms"] = _milliseconds(step, _STEPS)
            row["kernel_ms"] = 1000 * _kernels(step)[0]
            row["evaluation_ms"] = _milliseconds(trainer.predict, 5)  # last, as it leaves evaluation mode behind
            if precision == "bf16":
                trainer, step = _trainer(session, config, fold=False)
                row["norms_apart_graph_ms"] = _milliseconds(step, _STEPS)
                row["norms_apart_evaluation_ms"] = _milliseconds(trainer.predict, 5)
            result[f"{precision}, depth {depth}"] = row
    return result


def together(args: argparse.Namespace) -> Result:
    """Time one step of several trainings in one process: in turn, on a stream each, and stacked by ``vmap``.

    Only the times count: the graphs share memory, and compute nonsense at the same time.
    """
    dataset, base = open_dataset(args.data), parse_config({"precision": "bf16"}, _config(args))
    sessions = [TrainingSession(dataset, device="cuda") for _ in range(_TOGETHER)]
    streams = [torch.cuda.Stream() for _ in sessions]  # type: ignore[no-untyped-call]
    deepest = sessions[0].prepare(base).network.split_model.block_count
    result: Result = {}
    for depth in (deepest, deepest // 2):
        pairs = [_trainer(session, parse_config({"depth": depth}, base)) for session in sessions]

        def in_turn(pairs: list[tuple[Trainer, Callable[[], object]]] = pairs) -> None:
            for _, step in pairs:
                step()

        def on_streams(pairs: list[tuple[Trainer, Callable[[], object]]] = pairs) -> None:
            for (_, step), stream in zip(pairs, streams, strict=True):
                with torch.cuda.stream(stream):
                    step()

        row: Result = {"trainings": len(pairs), "in_turn_ms": _milliseconds(in_turn, _STEPS)}
        row["on_streams_ms"] = _milliseconds(on_streams, _STEPS)
        # The fused convolutions of drft-study cannot be stacked.
        apart, _ = _trainer(sessions[0], parse_config({"depth": depth}, base), fold=False)
        for count in _STACKED:
            try:
                row[f"stacked_{count}_ms"] = _stacked_ms(apart, count)
            except RuntimeError as error:  # an operation that cannot be stacked, or a lack of memory
                row[f"stacked_{count}_ms"] = f"{type(error).__name__}: {str(error)[:200]}"
        result[f"depth {depth}"] = row
    return result


def _stacked_ms(trainer: Trainer, count: int) -> float:
    """Return the milliseconds of the forward and backward pass of several stacked trainings, as a graph."""
    step = _stacked_step(trainer, count)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        for _ in range(2):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    return _milliseconds(graph.replay, 10)


def _stacked_step(trainer: Trainer, count: int) -> Callable[[], dict[str, Tensor]]:
    """Return a function that computes the gradients of several stacked trainings, all in bfloat16.

    Args:
        trainer: of one of them; its batch norms must not be folded.
        count: number of trainings.
    """
    context, depth = trainer.context, trainer.prefix.depth
    rows = np.arange(context.config.batch_size)
    inputs = [tensor.bfloat16() for tensor in trainer.prefix.open(context.images("train")).batch(rows)]
    # A copy: tensors of a stacked call stay behind in the modules. And no autocast: batch norms fail in it.
    suffix = copy.deepcopy(Suffix(context.model.net, context.network.split_model, depth)).bfloat16()
    parameters = {name: tensor.detach() for name, tensor in suffix.named_parameters() if tensor.requires_grad}
    classes = torch.zeros(len(rows), dtype=torch.long, device=context.device)
    stacked = [
        {name: torch.stack([tensor] * count) for name, tensor in tensors.items()}
        for tensors in (parameters, dict(suffix.named_buffers()))
    ]
    others = [torch.stack([tensor] * count) for tensor in (classes, *inputs)]
    gradient = torch.func.vmap(torch.func.grad(loss_function(suffix)), randomness="different")
    return lambda: gradient(*stacked, *others)


def study(args: argparse.Namespace) -> Result:
    """Run a real study with ``--at-once`` trainings on the card for ``--seconds``; return its rate once it is warm."""
    on_gpu = {"gpus": ("0",), "trials_per_gpu": args.at_once, "jobs": None}
    with _plan(args) as plan, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        where = on_gpu if torch.cuda.is_available() else {"jobs": args.at_once}
        options = study_options(plan, timeout=args.seconds, **where)
        prepared = prepare(options, silent)
        enqueue(prepared, plan)
        with _card_use() as use:
            run_plan(prepared, options, Console(file=nowhere))
        storage = open_storage(prepared.storage)
        trials = optuna.load_study(study_name=prepared.metadata.name, storage=storage).get_trials(deepcopy=False)
        close_storage(storage)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    ends = sorted(
        (trial.datetime_complete.timestamp(), trial.user_attrs["worker"])
        for trial in complete
        if trial.datetime_complete is not None
    )
    result: Result = {
        "at_once": args.at_once,
        "trainings": len(complete),
        "failed": [trial.user_attrs.get("fail_reason") for trial in trials if trial.state == TrialState.FAIL][:3],
        "seconds_by_depth": sorted((trial.params["depth"], trial.user_attrs["seconds"]) for trial in complete),
    }
    if ends:
        warm = max({worker: end for end, worker in reversed(ends)}.values())  # each worker has ended its first training
        after = [end for end, _ in ends if end > warm]
        if after:
            result |= {"per_minute": 60 * len(after) / (after[-1] - warm), **use.between(warm, after[-1])}
    return result


def plain(args: argparse.Namespace) -> Result:
    """Run a plain Optuna loop on ``--trainings`` of the same trainings."""
    with _plan(args, args.trainings) as plan:
        write_jpegs(plan.dataset(), plan.jpegs)
        image = torch.ones(1, 3, 8, 8, device=DEVICE, requires_grad=True)
        torch.autograd.backward(nn.functional.conv2d(image, image).sum())  # loads the libraries, which is not timed
        with _card_use() as use:
            started = time.time()
            measured = run_plain(plan)
        trainings = [(trial.depth, trial.seconds) for trial in measured.trials]
        usage = use.between(started, time.time())
    return {"trainings": trainings, "per_minute": 60 * len(trainings) / measured.seconds, **usage}


PARTS: Mapping[str, Callable[[argparse.Namespace], Result]] = {
    part.__name__: part for part in (card, tests, agreement, training, steps, together, study, plain)
}


class _CardUse:
    """Readings of how busy the card is."""

    def __init__(self) -> None:
        self.readings: list[tuple[float, float, float]] = []
        """Time, percent of the time with a kernel running, and MiB of memory in use."""

    def between(self, start: float, end: float) -> Result:
        """Return the mean share of time with a kernel running, and the most memory in MiB."""
        inside = [reading for reading in self.readings if start <= reading[0] <= end]
        if not inside:
            return {}
        return {
            "kernel_share": statistics.mean(busy for _, busy, _ in inside) / 100,
            "memory_mib": max(memory for _, _, memory in inside),
        }


@contextlib.contextmanager
def _card_use() -> Iterator[_CardUse]:
    """Read the use of the card, as its driver reports it, until the block ends."""
    use = _CardUse()
    if not torch.cuda.is_available():
        yield use
        return
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    with subprocess.Popen([*query, f"-lms={_SAMPLE_MS}"], stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            for line in process.stdout or ():
                with contextlib.suppress(ValueError):  # a line that was cut off
                    busy, memory = map(float, line.split(","))
                    use.readings.append((time.time(), busy, memory))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield use
        finally:
            process.terminate()
            thread.join(5)


def _config(args: argparse.Namespace) -> TrialConfig:
    weights = str(Path(args.weights).absolute()) if Path(args.weights).exists() else args.weights
    return parse_config(
        {
            "backbone": {"name": args.backbone, "weights": weights},
            "image_size": args.image_size,
            "depth_phase": {"warmup_epochs": 0.0},  # the plain loop's schedule has none
            "split": SplitConfig().model_dump(),
            "augmentation": {"strength": 0.5},
        }
    )


@contextlib.contextmanager
def _plan(args: argparse.Namespace, chosen: int = 1) -> Iterator[BenchmarkPlan]:
    with TemporaryDirectory(prefix="drft-gpu-") as temporary:
        folder = Path(temporary)
        link_images(open_dataset(args.data), folder / "images", None)
        shared = _config(args).model_dump(mode="json", exclude={"seed", "depth", "augmentation"})
        configs = plan_configs(shared, _TRIALS)
        depths = len({config.depth for config in configs})
        yield BenchmarkPlan(folder=folder, trials=configs, chosen=choose_trials(configs[: 2 * depths], chosen))


def _trainer(
    session: TrainingSession, config: TrialConfig, *, fold: bool = True
) -> tuple[Trainer, Callable[[], object]]:
    """Return a trainer in its depth phase, and a function that makes an optimizer step on its first batch.

    Args:
        session: has the images.
        config: of the training.
        fold: whether batch norms are folded into convolutions, as drft-study does.
    """
    context = session.prepare(config)
    if not fold:
        segments = split_model(context.model.net, config.image_size)
        context = replace(context, network=replace(context.network, split_model=segments), cache=None)
    trainer = Trainer(context, "depth")
    inputs = trainer.prefix.open(context.images("train", 1, config.augmentation.strength))
    for module, training_mode in trainer.unfreezing.modes.items():
        module.training = training_mode
    rows = shuffled_batches(len(context.split.train), trainer.batches, 0, 1)[0]
    return trainer, lambda: trainer.update(inputs, MixedBatch(rows, rows))


def _seconds(work: Callable[[], object], repetitions: int) -> float:
    """Return the mean seconds of one call on the GPU, after four calls that are not counted."""
    for _ in range(4):
        work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repetitions):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repetitions


def _milliseconds(work: Callable[[], object], repetitions: int) -> float:
    return 1000 * _seconds(work, repetitions)


def _kernels(work: Callable[[], object]) -> tuple[float, list[tuple[str, int, float]]]:
    """Return the seconds in kernels of one call, and the slowest kernels with their number and seconds."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    events = sorted(profile.key_averages(), key=lambda event: -event.self_device_time_total)
    kernels = [(event.key[:90], event.count, event.self_device_time_total / 1e6) for event in events]
    return sum(seconds for _, _, seconds in kernels), kernels[:12]


def main() -> None:
    """Run parts one after the other; a part that fails is described by its traceback."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_parts", description=__doc__)
    parser.add_argument("parts")
    parser.add_argument("result", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--trainings", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    results: dict[str, Result] = {}
    for name in args.parts.split("+"):
        started = time.perf_counter()
        try:
            result = PARTS[name](args)
        except Exception:  # noqa: BLE001 (the other parts go on)
            result = {"failed": traceback.format_exc()[-2000:]}
        results[name] = {**result, "part_seconds": time.perf_counter() - started}
        args.result.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
