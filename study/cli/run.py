"""``drft-study run``: run a study, or go on with it."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drft.config import METRICS, NORMALIZATIONS, PRECISIONS
from study.choices import LOGS, PRUNERS, SAMPLERS

if TYPE_CHECKING:
    from study.options import RunOptions


class Duration(click.ParamType[float]):
    """Seconds, or numbers with ``h``, ``m`` and ``s``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        from study.options import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """Bytes, as a number and a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        from drft.data.sizes import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, help="Finished trials to come to.")
@click.option("--space", default="default", show_default=True, help="Search space: a YAML file or a shipped name.")
@click.option("--data", default="synthetic", show_default=True, help="synthetic, idrid, a folder, or a CSV file.")
@click.option("--labels", help="Labels of IDRiD's Kaggle layout: as-given or official.")
@click.option("--images", help="Folder of a table's pictures.")
@click.option("--image-column", help="Column of a table that names the pictures.")
@click.option("--grade-column", help="Column of a table with the grades.")
@click.option("--group-column", help="Column of a table that keeps pictures together, such as the patient.")
@click.option("--origin-column", help="Column of a table that says train or test.")
@click.option("--study", help="Name of the study; made of space, data and backbone by default.")
@click.option(
    "--storage",
    metavar="URL",
    help="Optuna storage: a database URL, a SQLite file or a .journal file; results/STUDY/study.db by default.",
)
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
@click.option("--backbone", help="Name of a timm model.")
@click.option("--weights", help="embedded, hub, none, or a .safetensors or .pth file.")
@click.option("--normalization", type=click.Choice(NORMALIZATIONS), help="Mean and deviation that --weights expects.")
@click.option("--image-size", type=click.IntRange(16, 2048), help="Pixels of the network's input.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Type of the computation; auto by default.")
@click.option("--sampler", type=click.Choice(SAMPLERS), default="tpe", show_default=True)
@click.option("--pruner", type=click.Choice(PRUNERS), default="asha", show_default=True)
@click.option("--metric", type=click.Choice(METRICS), help="Validation score to maximize; accuracy by default.")
@click.option("--timeout", type=Duration(), help="Stop after this long: 600, 10m, 2h.")
@click.option("--trial-timeout", type=Duration(), help="End a trial that takes longer, as one that hangs.")
@click.option("--max-retries", type=click.IntRange(0), default=1, show_default=True, help="Tries after a failed one.")
@click.option(
    "--failure-limit",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Stop when more than this fraction of the last 20 trials failed.",
)
@click.option("--stop-when-noise", is_flag=True, help="Stop when further trials could show nothing but noise.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of split, search and trials.")
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option(
    "--jobs", type=click.IntRange(1), help="Trials at once: on the CPU, or on Ray; as many as fit by default."
)
@click.option("--gpus", help="GPUs to use, such as 0,1; all by default.")
@click.option("--trials-per-gpu", type=click.IntRange(1), help="Trials at once on each GPU; 1 by default.")
@click.option("--ray-address", help="Ray cluster: auto or HOST:PORT; one on this machine by default.")
@click.option("--gpus-per-trial", type=float, help="GPUs of each trial on Ray, such as 0.5; 1 by default, if any.")
@click.option("--cpus-per-trial", type=float, help="CPUs of each trial on Ray; 1 by default.")
@click.option("--cache-size", type=Size(), help="Disk for activations: 20GB; a share of what is free by default.")
@click.option("--no-cache", is_flag=True, help="Keep no activations: compute the frozen blocks in every epoch.")
@click.option("--keep-checkpoints", type=click.IntRange(0), default=5, show_default=True, help="Best trials to keep.")
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report at the end.")
@click.option("--log", type=click.Choice(LOGS), help="Also log trials there: files in results/STUDY, nothing is sent.")
def command(**given: Any) -> None:
    """Run a study: many short two-phase trainings, then a report.

    The same command, run again, goes on where the study was. Ctrl-C stops it so that it can.
    """
    from study.executors.processes import warm_up

    warm_up()  # torch takes its seconds to import: there, while this process gets everything else ready
    from rich.console import Console

    console = Console()
    with console.status("starting"):
        from study.run import run_study
    outcome = run_study(_options(given), console)
    if outcome.ended == "interrupted":
        sys.exit(130)
    if outcome.ended == "failing":
        sys.exit(1)


def _options(given: dict[str, Any]) -> "RunOptions":
    from study.options import RunOptions

    columns = ("labels", "images", "image_column", "grade_column", "group_column", "origin_column")
    data_options = {name: given[name] for name in columns if given[name] is not None}
    rest = {name: value for name, value in given.items() if name not in columns}
    if rest.pop("no_cache"):
        if given["cache_size"]:
            raise click.UsageError("--no-cache keeps nothing: leave --cache-size out")
        rest["cache_size"] = 0
    rest["gpus"] = given["gpus"].split(",") if given["gpus"] else None
    return RunOptions(**rest, data_options=data_options, command=_shown_command(given["storage"]))


def _shown_command(storage: str | None) -> str:
    """Return the command as it was given, without the password of a database: it is recorded and printed."""
    arguments = sys.argv[1:]
    if storage and "@" in storage:
        from study.storage import public_url

        arguments = [argument.replace(storage, public_url(storage)) for argument in arguments]
    return shlex.join(["drft-study", *arguments])
