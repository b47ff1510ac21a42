"""Options that several benchmarks share, and the plan that they describe."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.plan import BenchmarkPlan, choose_trials, link_images, plan_configs
from drft.config.trial_config import NAMED_WEIGHTS, NORMALIZATIONS, PRECISIONS, STRENGTHS, SplitConfig
from drft.data import ImageDataset, open_dataset
from drft.files.home import expand_home
from drft.models.backbone import block_count
from drft.models.weights import EMBEDDED_BACKBONE

_FULL = {"head_epochs": 3, "depth_epochs": 7, "images": None}
_QUICK = {"head_epochs": 1, "depth_epochs": 1, "images": 60}


def command_parser(name: str, description: str | None, out: str = "results/benchmarks") -> argparse.ArgumentParser:
    """Return a parser for ``python -m benchmarks.NAME`` with the option ``--out``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for the results")
    return parser


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add weights, normalization and backbone."""
    parser.add_argument("--weights", help="weight file; default: the embedded weights")
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="auto")
    parser.add_argument("--backbone", help=f"default: {EMBEDDED_BACKBONE}, with --weights mobilenetv2_100")


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a plan."""
    parser.add_argument("--data", default="synthetic", help="data source, as for `drft-study run --data`")
    add_model_options(parser)
    parser.add_argument("--image-size", type=int, help="default: 96 pixels, with --weights 224")
    parser.add_argument("--trials", type=int, help="default: every depth at every strength once")
    parser.add_argument("--head-epochs", type=int, help="default: 3")
    parser.add_argument("--depth-epochs", type=int, help="default: 7")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batch-norm", choices=("frozen", "adapt"), default="frozen", help="of the trained blocks")
    parser.add_argument("--images", type=int, help="about how many images to use; default: all")
    parser.add_argument("--jobs", type=int, help="trials that drft-study runs at once; default: its own")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="of drft-study; the peers compute in fp32"
    )
    parser.add_argument("--quick", action="store_true", help="60 images, 1 + 1 epochs, each depth once")
    parser.add_argument("--label", help="part of the names of the result files")


def set_missing(args: argparse.Namespace, values: Mapping[str, Any]) -> None:
    """Set the options that were not given."""
    for name, value in values.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def set_plan_defaults(args: argparse.Namespace, rounds: int = len(STRENGTHS)) -> None:
    """Set the plan options that were not given; ``rounds`` is how often each depth is trained by default."""
    set_missing(args, _QUICK if args.quick else _FULL)
    set_backbone(args)
    args.image_size = args.image_size or (224 if args.weights else 96)
    args.trials = args.trials or (block_count(args.backbone) + 1) * (1 if args.quick else rounds)
    parts = [*(["quick"] if args.quick else []), Path(args.data).name, args.backbone, str(args.image_size)]
    args.label = args.label or "-".join(parts)


def set_backbone(args: argparse.Namespace) -> None:
    """Set the backbone that fits the weights when none was given."""
    args.backbone = args.backbone or ("mobilenetv2_100" if args.weights else EMBEDDED_BACKBONE)


@contextmanager
def open_plan(args: argparse.Namespace, console: Console, peer_trials: int | None = None) -> Iterator[BenchmarkPlan]:
    """Yield the plan that the options describe, in a temporary folder."""
    with TemporaryDirectory(prefix="drft-benchmark-") as temporary:
        folder = Path(temporary)
        with console.status("opening the images"):
            link_images(open_dataset(args.data), folder / "images", args.images)
        trials = plan_configs(_shared_values(args), args.trials)
        count = peer_trials or len({config.depth for config in trials})
        chosen = choose_trials(trials, min(count, len(trials)))
        yield BenchmarkPlan(folder=folder, trials=trials, chosen=chosen, jobs=args.jobs)


def _shared_values(args: argparse.Namespace) -> dict[str, Any]:
    """Return the values of all configurations of a plan."""
    weights = args.weights or "embedded"
    if weights not in NAMED_WEIGHTS:  # a file; the programs may run in other folders
        weights = str(expand_home(weights).absolute())
    return {
        "backbone": {"name": args.backbone, "weights": weights, "normalization": args.normalization},
        "image_size": args.image_size,
        "head_phase": {"epochs": args.head_epochs},
        # No warm-up: the plain peer uses PyTorch's cosine schedule, which has none.
        "depth_phase": {"epochs": args.depth_epochs, "warmup_epochs": 0.0},
        "split": SplitConfig().model_dump(),
        "batch_size": args.batch_size,
        "batch_norm": args.batch_norm,
        "precision": args.precision,
    }


def describe_work(args: argparse.Namespace, dataset: ImageDataset) -> dict[str, Any]:
    """Return data, model and trainings as they are written to JSON."""
    names = ("backbone", "image_size", "trials", "head_epochs", "depth_epochs", "batch_size", "batch_norm", "precision")
    return {
        "data": Path(args.data).name,
        "photographs_train": sum(dataset.counts("train")),
        "photographs_test": sum(dataset.counts("test")),
        **{name: getattr(args, name) for name in names},
    }
