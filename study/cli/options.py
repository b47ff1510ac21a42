"""Options that several commands have, in one place, and what they mean to a run."""

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from study.setup.options import RunOptions

Function = Callable[..., Any]

_FILES = ("exclude", "relabel")
_OF_DATA = (
    "labels",
    "images",
    "image_column",
    "grade_column",
    "group_column",
    "origin_column",
    "group_lookalikes",
    *_FILES,
)


class Duration(click.ParamType[float]):
    """Seconds, or numbers with ``h``, ``m`` and ``s``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        from study.setup.options import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """Bytes, as a number and a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        from drft.files.sizes import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def data_options(command: Function) -> Function:
    """Where the images of a table are, and what its columns are called."""
    return _with_options(
        command,
        click.option("--labels", help="Labels of IDRiD's Kaggle layout: as-given or official."),
        click.option("--images", help="Folder of a table's images."),
        click.option("--image-column", help="Column of a table that names the images."),
        click.option("--grade-column", help="Column of a table with the grades."),
        click.option("--group-column", help="Column of a table that keeps images together, such as the patient."),
        click.option("--origin-column", help="Column of a table that says train or test."),
        click.option(
            "--group-lookalikes", flag_value="yes", help="Never part images that occur twice in different files."
        ),
        click.option("--exclude", metavar="CSV", help="Leave out the training images that it names by id."),
        click.option("--relabel", metavar="CSV", help="Give the training images it names by id its grades."),
    )


def limit_options(command: Function) -> Function:
    """When a run stops, and how often a failed trial is tried again."""
    return _with_options(
        command,
        click.option("--timeout", type=Duration(), help="Stop after this long: 600, 10m, 2h."),
        click.option("--trial-timeout", type=Duration(), help="End a trial that takes longer, as one that hangs."),
        click.option(
            "--max-retries", type=click.IntRange(0), default=1, show_default=True, help="Tries after a failed one."
        ),
        click.option(
            "--failure-limit",
            type=click.FloatRange(0, 1, min_open=True),
            default=0.5,
            show_default=True,
            help="Stop when more than this fraction of the last 20 trials failed.",
        ),
    )


def placement_options(command: Function) -> Function:
    """Where trials run."""
    return _with_options(
        command,
        click.option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True),
        click.option(
            "--jobs", type=click.IntRange(1), help="Trials at once: on the CPU, or on Ray; as many as fit by default."
        ),
        click.option("--gpus", help="GPUs to use, such as 0,1; all by default."),
        click.option("--trials-per-gpu", type=click.IntRange(1), help="Trials at once on each GPU; 1 by default."),
        click.option("--ray-address", help="Ray cluster: auto or HOST:PORT; one on this machine by default."),
        click.option(
            "--gpus-per-trial", type=float, help="GPUs of each trial on Ray, such as 0.5; 1 by default, if any."
        ),
        click.option("--cpus-per-trial", type=float, help="CPUs of each trial on Ray; 1 by default."),
        click.option(
            "--cache-size", type=Size(), help="Disk for activations: 20GB; a share of what is free by default."
        ),
        click.option("--no-cache", is_flag=True, help="Keep no activations: compute the frozen blocks in every epoch."),
    )


def _with_options(command: Function, *options: Callable[[Function], Function]) -> Function:
    for option in reversed(options):
        command = option(command)
    return command


def given_of_data(given: Mapping[str, Any]) -> dict[str, str]:
    """Return what the options of a command say of the images; a study may be gone on with from another folder."""
    said = {name: given[name] for name in _OF_DATA if given[name] is not None}
    return {name: str(Path(value).absolute()) if name in _FILES else value for name, value in said.items()}


def run_options(given: dict[str, Any]) -> "RunOptions":
    """Return what the options of a command say of a run."""
    from study.setup.options import RunOptions

    rest = {name: value for name, value in given.items() if name not in _OF_DATA}
    if rest.pop("no_cache"):
        if given["cache_size"]:
            raise click.UsageError("--no-cache keeps nothing: leave --cache-size out")
        rest["cache_size"] = 0
    rest["gpus"] = given["gpus"].split(",") if given["gpus"] else None
    return RunOptions(**rest, data_options=given_of_data(given), command=shown_command(given["storage"]))


def shown_command(storage: str | None) -> str:
    """Return the command as it was given, without the password of a database: it is recorded and printed."""
    arguments = sys.argv[1:]
    if storage and "@" in storage:
        from study.storage.open import public_url

        arguments = [argument.replace(storage, public_url(storage)) for argument in arguments]
    return shlex.join(["drft-study", *arguments])
