"""Trainings on one GPU: correctness, time per step, many trainings at once, and a plain Optuna loop on the same card.

::

    python -m benchmarks.gpu --data FOLDER --weights FILE

Every part runs in a process of its own with a time limit, and what it measured is written when it ends. So a part that
fails or hangs costs the others nothing.
"""

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.arguments import command_parser
from benchmarks.machine import describe_run
from benchmarks.pages import publish
from benchmarks.plan import BenchmarkPlan, choose_trials, link_images, plan_configs, write_jpegs
from drft.config.trial_config import SplitConfig, TrialConfig, parse_config
from drft.data import ImageDataset, open_dataset
from drft.feature_cache.split_model import split_model
from drft.training.session import TrainingSession
from drft.training.trainer import Trainer, shuffled_batches
from drft.training.trial import run_trial

_ROOT = Path(__file__).parent.parent
_STEPS = 30
"""Optimizer steps that are timed."""

_SAMPLE_MS = 200
"""Milliseconds between two readings of the card's use."""

Result = dict[str, Any]


def card(_args: argparse.Namespace) -> Result:
    """Return name, memory and driver of the card, and the two rates that bound all work on it."""
    properties = torch.cuda.get_device_properties(0)
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "name": properties.name,
        "memory": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "driver": driver.stdout.strip(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "copied_bytes_per_second": 2 * source.nbytes / _seconds(lambda: target.copy_(source), 10),
        "bf16_flops": 2 * 8192**3 / _seconds(lambda: left @ right, 10),
    }


def tests(_args: argparse.Namespace) -> Result:
    """Run the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-rA", "-m", "gpu", "-k", args.tests, "tests/drft/training"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT)  # noqa: S603
    lines = (done.stdout + done.stderr).strip().splitlines()
    return {"code": done.returncode, "summary": lines[-1] if lines else "", "output": "\n".join(lines[-60:])}


def agreement(args: argparse.Namespace) -> Result:
    """Train one configuration on the CPU and on the GPU in fp32, and on the GPU without a cache and in bf16."""
    dataset = open_dataset(args.data)
    values = {"depth": 4, "image_size": 128, "precision": "fp32", "depth_phase": {"epochs": 4}}
    config = parse_config(values, _config(args))
    cpu = run_trial(config, TrainingSession(dataset, device="cpu"))
    session = TrainingSession(dataset, device="cuda")
    gpu = run_trial(config, session)
    others = {
        "gpu": gpu,
        "gpu, again": run_trial(config, session),
        "gpu, uncached": run_trial(config, TrainingSession(dataset, device="cuda", cache_size=0)),
        "gpu, bf16": run_trial(parse_config({"precision": "bf16"}, config), session),
    }
    result: Result = {"cpu": [record.val_accuracy for record in cpu.records], "cpu_seconds": cpu.seconds}
    for name, other in others.items():
        against = cpu if name == "gpu" else gpu
        differences = [
            np.abs(np.subtract(other.predictions[part].probabilities, against.predictions[part].probabilities, dtype=float))
            for part in ("train", "validation")
        ]
        result[name] = {
            "against": "cpu" if against is cpu else "gpu",
            "val_accuracy": [record.val_accuracy for record in other.records],
            "largest_probability_difference_by_epoch": np.max([d.max(axis=(1, 2)) for d in differences], axis=0).tolist(),
            "seconds": other.seconds,
        }
    return result


def steps(args: argparse.Namespace) -> Result:
    """Time optimizer steps by depth and precision, started one by one and as a graph; and other ways to fill the card."""
    dataset, result = open_dataset(args.data), {}
    for precision, depths in (("bf16", (8, 4, 0)), ("fp32", (8,)), ("fp16", (8,))):
        session = TrainingSession(dataset, device="cuda")
        base = parse_config({"precision": precision}, _config(args))
        for depth in depths:
            trainer, step = _trainer(session, parse_config({"depth": depth}, base))
            row: Result = {}
            if trainer._graphs is not None:
                row["graph_ms"] = 1000 * _seconds(step, _STEPS)
            trainer._graphs = None
            row["eager_ms"] = 1000 * _seconds(step, _STEPS)
            row["kernel_ms"] = _kernel_ms(step, 5)
            evaluate = trainer.predict
            row["evaluation_ms"] = 1000 * _seconds(evaluate, 5)
            row["evaluation_kernel_ms"] = _kernel_ms(evaluate, 2)
            if precision == "bf16" and depth:
                trainer, step = _trainer(session, parse_config({"depth": depth}, base), fold=False)
                row["unfolded_graph_ms"] = 1000 * _seconds(step, _STEPS)
                row["unfolded_evaluation_ms"] = 1000 * _seconds(trainer.predict, 5)
            result[f"{precision}, depth {depth}"] = row
            print(precision, depth, row, flush=True)
    return result


def together(args: argparse.Namespace) -> Result:
    """Time one step of several trainings: graphs one after the other, on a stream each, and stacked by ``vmap``."""
    dataset, result = open_dataset(args.data), {}
    base = parse_config({"precision": "bf16"}, _config(args))
    sessions = [TrainingSession(dataset, device="cuda") for _ in range(4)]
    deepest = sessions[0].prepare(base).network.split_model.block_count
    for depth in (deepest, deepest // 2):
        config = parse_config({"depth": depth}, base)
        pairs = [_trainer(session, config) for session in sessions]
        for _trainer_, step in pairs:
            for _ in range(6):
                step()
        graphs = [next(iter(trainer._graphs._captured.values())).graph for trainer, _ in pairs if trainer._graphs]
        streams = [torch.cuda.Stream() for _ in graphs]

        def in_turn(graphs: Sequence[Any] = graphs) -> None:
            for graph in graphs:
                graph.replay()

        def on_streams(graphs: Sequence[Any] = graphs, streams: Sequence[Any] = streams) -> None:
            for graph, stream in zip(graphs, streams, strict=True):
                with torch.cuda.stream(stream):
                    graph.replay()

        row = {
            "trainings": len(graphs),
            "in_turn_ms": 1000 * _seconds(in_turn, _STEPS),
            "on_streams_ms": 1000 * _seconds(on_streams, _STEPS),
        }
        print(depth, row, flush=True)
        result[f"depth {depth}"] = row
        for count in (4, 16):
            for form in (torch.channels_last, torch.contiguous_format):
                name = f"stacked_{count}_{'nhwc' if form == torch.channels_last else 'nchw'}_ms"
                try:
                    row[name] = _stacked_ms(pairs[0][0], count, form)
                except Exception as error:  # noqa: BLE001 (the other figures stay)
                    row[name] = f"{type(error).__name__}: {str(error)[:200]}"
                print(depth, name, row[name], flush=True)
    return result


def _stacked_ms(trainer: Trainer, count: int, form: torch.memory_format) -> float:
    """Return the milliseconds of forward and backward pass of several stacked trainings, as a graph."""
    net, depth = trainer.context.model.net, trainer.prefix.depth
    network = trainer.context.network.split_model
    size, batch = trainer.context.config.image_size, trainer.context.config.batch_size
    images = torch.randn(batch, 3, size, size, device="cuda").contiguous(memory_format=form)
    with torch.autocast("cuda", torch.bfloat16):
        inputs = network.advance((images,), None, [depth])[depth] if depth is not None else (images,)
    inputs = tuple(tensor.detach().expand(count, *tensor.shape).contiguous() for tensor in inputs)
    trained = {n: p.detach().expand(count, *p.shape).clone() for n, p in net.named_parameters() if p.requires_grad}
    grades = torch.zeros(batch, dtype=torch.long, device="cuda")

    class Suffix(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *activations: torch.Tensor) -> torch.Tensor:
            return network.suffix(depth, activations)

    suffix = Suffix()

    def loss(parameters: Mapping[str, torch.Tensor], *activations: torch.Tensor) -> torch.Tensor:
        named = {f"net.{name}": value for name, value in parameters.items()}
        with torch.autocast("cuda", torch.bfloat16):
            outputs = torch.func.functional_call(suffix, named, activations)
        return torch.nn.functional.cross_entropy(outputs.float(), grades)

    gradient = torch.func.vmap(torch.func.grad(loss), randomness="different")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            gradient(trained, *inputs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        gradient(trained, *inputs)
    return 1000 * _seconds(graph.replay, 10)


def training(args: argparse.Namespace) -> Result:
    """Profile whole trainings in a warm process, one at a time: seconds, and the share of them in kernels."""
    dataset, result = open_dataset(args.data), {}
    session = TrainingSession(dataset, device="cuda")
    base = _config(args)
    deepest = session.prepare(base).network.split_model.block_count
    run_trial(parse_config({"depth": deepest}, base), session)
    for depth in (deepest, deepest // 2, 0):
        config = parse_config({"depth": depth, "seed": 1}, base)
        seconds = run_trial(config, session).seconds
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            run_trial(config, session)
        kernels = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
        slowest = sorted(profile.key_averages(), key=lambda event: -event.self_device_time_total)[:12]
        result[f"depth {depth}"] = {
            "seconds": seconds,
            "kernel_seconds": kernels,
            "slowest_kernels": [(e.key[:90], e.count, e.self_device_time_total / 1e6) for e in slowest],
        }
        print(depth, seconds, kernels, flush=True)
    return result


def study(args: argparse.Namespace) -> Result:
    """Run a real study with ``--at-once`` trainings on the card for ``--seconds``; return its rate once it is warm."""
    import optuna

    from benchmarks.ours import enqueue, study_options
    from drft.data.progress import silent
    from study.run import run_plan
    from study.setup.plan import prepare
    from study.storage.open import close_storage, open_storage

    with _plan(args, 240) as plan:
        where = {"gpus": ("0",), "trials_per_gpu": args.at_once} if torch.cuda.is_available() else {"jobs": args.at_once}
        options = study_options(plan, timeout=args.seconds, **where)
        prepared = prepare(options, silent)
        enqueue(prepared, plan)
        with _card_use() as use:
            run_plan(prepared, options, Console(file=open(os.devnull, "w")))  # noqa: SIM115, PTH123
        storage = open_storage(prepared.storage)
        trials = optuna.load_study(study_name=prepared.metadata.name, storage=storage).get_trials(deepcopy=False)
        log = prepared.folder / "workers.log"
        errors = log.read_text()[-1500:] if log.exists() else ""
        close_storage(storage)
    complete = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    failed = [trial.user_attrs.get("fail_reason") for trial in trials if trial.state == optuna.trial.TrialState.FAIL]
    ends = sorted((trial.datetime_complete.timestamp(), trial.user_attrs["worker"]) for trial in complete)
    result: Result = {"at_once": args.at_once, "trainings": len(complete), "failed": failed[:3], "workers_log": errors}
    first = {worker: end for end, worker in reversed(ends)}
    if first:
        warm = max(first.values())
        after = [end for end, _ in ends if end > warm]
        if after:
            result["per_minute"] = 60 * len(after) / (after[-1] - warm)
            result |= use.between(warm, after[-1])
        result["first_ends"] = len(first)
    result["seconds_by_depth"] = sorted((t.params["depth"], round(t.user_attrs.get("seconds") or 0, 2)) for t in complete)
    result["depths"] = {str(d): sum(t.params["depth"] == d for t in complete) for d in sorted({t.params["depth"] for t in complete})}
    return result


def plain(args: argparse.Namespace) -> Result:
    """Run the plain Optuna loop on ``--trainings`` of the same trainings."""
    with _plan(args, 240, args.trainings) as plan:
        write_jpegs(plan.dataset(), plan.jpegs)
        image = torch.zeros(1, 3, 8, 8, device="cuda" if torch.cuda.is_available() else "cpu", requires_grad=True)
        torch.nn.functional.conv2d(image, image).sum().backward()  # loads the libraries, which is not timed
        with _card_use() as use:
            started = time.time()
            measured = importlib.import_module("benchmarks.plain").run(plan)
        trainings = [(trial.depth, trial.seconds) for trial in measured.trials]
        usage = use.between(started, time.time())
    return {"trainings": trainings, "per_minute": 60 * len(trainings) / measured.seconds, **usage}


PARTS: Mapping[str, Callable[[argparse.Namespace], Result]] = {
    part.__name__: part for part in (card, tests, agreement, steps, together, training, study, plain)
}


class _CardUse:
    """Readings of how busy the card is."""

    def __init__(self) -> None:
        self.readings: list[tuple[float, float, float]] = []

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
    with subprocess.Popen([*query, f"-lms={_SAMPLE_MS}"], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603

        def read() -> None:
            for line in process.stdout or ():
                with contextlib.suppress(ValueError):
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
            "depth_phase": {"warmup_epochs": 0.0},
            "split": SplitConfig().model_dump(),
            "augmentation": {"strength": 0.5},
        }
    )


@contextlib.contextmanager
def _plan(args: argparse.Namespace, trials: int, chosen: int = 1) -> Iterator[BenchmarkPlan]:
    with TemporaryDirectory(prefix="drft-gpu-") as temporary:
        folder = Path(temporary)
        link_images(open_dataset(args.data), folder / "images", None)
        shared = _config(args).model_dump(mode="json", exclude={"seed", "depth", "augmentation"})
        configs = plan_configs(shared, trials)
        first = configs[: 1 + max(config.depth for config in configs)]
        yield BenchmarkPlan(folder=folder, trials=configs, chosen=choose_trials(first, chosen))


def _trainer(
    session: TrainingSession, config: TrialConfig, *, fold: bool = True
) -> tuple[Trainer, Callable[[], object]]:
    """Return a trainer in its depth phase, and a function that makes its next step on a batch of equal size."""
    from drft.training.regularization.mixup import MixedBatch

    context = session.prepare(config)
    if not fold:
        segments = split_model(context.model.net, config.image_size)
        context = replace(context, network=replace(context.network, split_model=segments), cache=None)
    trainer = Trainer(context, "depth")
    trainer.unfreeze(1)
    inputs = trainer.prefix.open(context.images("train", 1, config.augmentation.strength))
    for module, training_mode in trainer.unfreezing.modes.items():
        module.training = training_mode
    rows = shuffled_batches(len(context.split.train), trainer.batches, 0, 1)[0]
    trainer._trained = {}
    batch = MixedBatch(rows, rows)
    return trainer, lambda: trainer.update(inputs, batch)


def _seconds(work: Callable[[], object], repetitions: int) -> float:
    """Return the mean seconds of one call on the GPU, after three calls that are not counted."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repetitions):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repetitions


def _kernel_ms(work: Callable[[], object], repetitions: int) -> float:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(repetitions):
            work()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1000 / repetitions


def _run_part(args: argparse.Namespace, part: str, limit: float, **options: object) -> Result:
    """Run one part in a process of its own; a part that fails or takes too long returns why."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, f"--data={args.data}"]
    command += [f"--weights={args.weights}", *words]
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        try:
            done = subprocess.run(  # noqa: S603
                [*command, f"--result={out}"], capture_output=True, text=True, timeout=limit, check=False, cwd=_ROOT
            )
            log = done.stdout[-3000:] + done.stderr[-3000:]
        except subprocess.TimeoutExpired as error:
            log = f"not ended after {limit:.0f} s\n" + "".join(
                text.decode()[-3000:] for text in (error.stdout, error.stderr) if isinstance(text, bytes)
            )
        result: Result = json.loads(out.read_text()) if out.exists() else {"failed": log}
    return {**result, "part_seconds": round(time.perf_counter() - started, 1)}


def random_weights(backbone: str, folder: Path) -> Path:
    """Write random weights of a backbone to a file, for parts that measure time alone."""
    import timm
    from safetensors.torch import save_file

    path = folder / f"{backbone}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        save_file(timm.create_model(backbone).state_dict(), path)
    return path


_ALL = (
    "card tests agreement steps together training study:1 study:2 study:4 study:8 study:16 plain "
    "study:8:resnet50 plain:2:resnet50 study:8:vit_small_patch16_224 plain:2:vit_small_patch16_224"
)


def main() -> None:
    """Run all parts, print and write what they measured."""
    parser = command_parser("gpu", __doc__)
    parser.add_argument("--data", required=True, help="data source, as for `drft-study run --data`")
    parser.add_argument("--weights", required=True, help="weight file of mobilenetv2_100")
    parser.add_argument("--backbone", default="mobilenetv2_100", help=argparse.SUPPRESS)
    parser.add_argument("--image-size", type=int, default=224, help="height and width in pixels")
    parser.add_argument("--parts", default=_ALL, help="parts to run: NAME, NAME:NUMBER or NAME:NUMBER:BACKBONE")
    parser.add_argument("--limit", type=float, default=90, help="seconds that a part may take")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--at-once", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--tests", default="test", help="which GPU tests to run, as for `pytest -k`")
    parser.add_argument("--seconds", type=float, default=25, help=argparse.SUPPRESS)
    parser.add_argument("--trainings", type=int, default=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        done: Result = {}
        for name in args.part.split("+"):
            started = time.perf_counter()
            try:
                done[name] = PARTS[name](args)
            except Exception:  # noqa: BLE001 (the other parts go on)
                done[name] = {"failed": traceback.format_exc()[-1500:]}
            done[name]["seconds"] = time.perf_counter() - started
            args.result.write_text(json.dumps(done))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    result: Result = {**describe_run("gpu", "gpu"), "parts": {}}
    for word in args.parts.split():
        name, number, backbone = (*word.split(":"), "", "")[:3]
        chosen = argparse.Namespace(**vars(args))
        options: Result = {"seconds": args.seconds, "image_size": args.image_size, "tests": args.tests}
        if number:
            options["at_once" if name == "study" else "trainings"] = number
        if backbone:
            options["backbone"] = backbone
            chosen.weights = str(random_weights(backbone, _ROOT / ".gpu"))
        part = _run_part(chosen, name, args.limit, **options)
        result["parts"][word] = part
        (args.out / "gpu.json").write_text(json.dumps(result, indent=1))
        print(f"{word}: {json.dumps(part)[:2600]}", flush=True)


if __name__ == "__main__":
    main()
