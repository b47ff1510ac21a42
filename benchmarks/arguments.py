"""The flags that the benchmarks share, and the plan that follows from them."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.plan import BenchmarkPlan, choose, fixed_values, lay_out_images, plan_configs
from drft.config.trial_config import NORMALIZATIONS, PRECISIONS, STRENGTHS
from drft.data import ImageDataset, open_dataset
from drft.models.backbone import block_count
from drft.models.weights import EMBEDDED_BACKBONE

_USUAL = {"head_epochs": 3, "depth_epochs": 7, "images": None}
_QUICK = {"head_epochs": 1, "depth_epochs": 1, "images": 60}

Tell = Callable[[str], None]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark can be told of its work."""
    parser.add_argument("--data", default="synthetic", help="as `drft-study run --data` takes it")
    parser.add_argument("--weights", help="weight file; without it the embedded weights")
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="auto")
    parser.add_argument("--backbone", help=f"{EMBEDDED_BACKBONE}, or mobilenetv2_100 with --weights")
    parser.add_argument("--image-size", type=int, help="96 pixels, or 224 with --weights")
    parser.add_argument("--trials", type=int, help="every depth at every strength once")
    parser.add_argument("--head-epochs", type=int, help="3")
    parser.add_argument("--depth-epochs", type=int, help="7")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batch-norm", choices=("frozen", "adapt"), default="frozen", help="of the trained blocks")
    parser.add_argument("--images", type=int, help="about so many images; all of them without it")
    parser.add_argument("--jobs", type=int, help="trials at once of this program; its own default without it")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="arithmetic of this program; peers compute in fp32"
    )
    parser.add_argument("--quick", action="store_true", help="60 images, 1 + 1 epochs, each depth once")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--label", help="names the files of results")


def settle(wanted: argparse.Namespace, rounds: int = len(STRENGTHS)) -> None:
    """Fill in what was not said; ``rounds`` is how often each depth is tried where it is not said."""
    known = wanted.weights is not None
    for name, value in (_QUICK if wanted.quick else _USUAL).items():
        if getattr(wanted, name) is None:
            setattr(wanted, name, value)
    wanted.backbone = wanted.backbone or ("mobilenetv2_100" if known else EMBEDDED_BACKBONE)
    wanted.image_size = wanted.image_size or (224 if known else 96)
    depths = block_count(wanted.backbone) + 1
    wanted.trials = wanted.trials or depths * (1 if wanted.quick else rounds)
    wanted.label = wanted.label or "-".join(
        [*(["quick"] if wanted.quick else []), Path(wanted.data).name, wanted.backbone, str(wanted.image_size)]
    )


@contextmanager
def laid_out(wanted: argparse.Namespace, console: Console, peer_trials: int | None = None) -> Iterator[BenchmarkPlan]:
    """Give the plan that settled flags ask for, in a scratch folder that goes away in the end."""
    with TemporaryDirectory(prefix="drft-benchmark-") as scratch:
        folder = Path(scratch)
        with console.status("opening the images"):
            lay_out_images(open_dataset(wanted.data), folder / "photographs", wanted.images)
        trials = plan_configs(fixed(wanted), wanted.trials)
        count = peer_trials or min(len(trials), len({config.depth for config in trials}))
        yield BenchmarkPlan(
            folder=folder,
            trials=trials,
            chosen=choose(trials, min(count, len(trials))),
            jobs=wanted.jobs,
        )


def fixed(wanted: argparse.Namespace) -> dict[str, Any]:
    """Return what all configurations share."""
    return fixed_values(
        backbone=wanted.backbone,
        weights=_weights(wanted.weights),
        normalization=wanted.normalization,
        image_size=wanted.image_size,
        epochs=(wanted.head_epochs, wanted.depth_epochs),
        batch_size=wanted.batch_size,
        batch_norm=wanted.batch_norm,
        precision=wanted.precision,
    )


def _weights(said: str | None) -> str:
    """Return the source of weights as a configuration names it; a file by its whole path, for any process."""
    if said is None:
        return "embedded"
    return said if said in {"embedded", "hub", "none"} else str(Path(said).expanduser().absolute())


def describe_work(wanted: argparse.Namespace, dataset: ImageDataset) -> dict[str, Any]:
    """Return what was worked on, for the record."""
    named = ("backbone", "image_size", "trials", "head_epochs", "depth_epochs", "batch_size", "batch_norm", "precision")
    return {
        "data": Path(wanted.data).name,
        "photographs_train": sum(dataset.counts("train")),
        "photographs_test": sum(dataset.counts("test")),
        **{name: getattr(wanted, name) for name in named},
    }


def teller(console: Console, status: Tell, who: str) -> Tell:
    """Return what shows a line of progress: in place on a terminal, one below the other elsewhere."""

    def tell(line: str) -> None:
        if console.is_terminal:
            status(f"{who}: {line}")
        else:
            console.print(f"{who}: {line}", markup=False, highlight=False, soft_wrap=True)

    return tell
