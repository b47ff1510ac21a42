"""Options that several commands share, and their conversion to the options of a run."""

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drft.files.home import expand_home
from drft.own_function import is_function

if TYPE_CHECKING:
    from study.setup.options import RunOptions

Function = Callable[..., Any]

_FILES = ("exclude", "relabel")
DATA_OPTIONS = (
    "labels",
    "images",
    "image_column",
    "grade_column",
    "group_column",
    "origin_column",
    "classes",
    "ordinal",
    "test_fraction",
    "group_lookalikes",
    *_FILES,
)
"""The parameters of a data source."""


class ChoiceOrFunction(click.Choice[str]):
    """One of several names, or ``module:function``."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the names with ``module:function`` as the last one."""
        return f"[{'|'.join(self.choices)}|module:function]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        if is_function(value):
            return str(value)
        if value not in self.choices:
            self.fail(f"{value!r} is not one of {', '.join(self.choices)}, and not module:function", param, ctx)
        return super().convert(value, param, ctx)


class FilePath(click.Path):
    """A path that is not empty: an unset variable of the shell would name the working folder."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value):
            self.fail("it is empty: name a file or a folder", param, ctx)
        return super().convert(value, param, ctx)


class Duration(click.ParamType[float]):
    """A time above zero, such as ``600``, ``90s``, ``10m``, ``2h`` or ``1h30m``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        parts = re.findall(r"(\d+(?:\.\d+)?)([hms]?)", value)
        seconds = sum(float(number) * {"h": 3600, "m": 60}.get(unit, 1) for number, unit in parts)
        if "".join(number + unit for number, unit in parts) != value or seconds <= 0:
            self.fail(f"{value!r} is not a duration; write 600, 90s, 10m, 2h or 1h30m", param, ctx)
        return seconds


class Size(click.ParamType[int]):
    """Bytes, as a number with a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        from drft.files.sizes import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def study_options(command: Function) -> Function:
    """Add the options that locate a study."""
    return _add(
        command,
        click.option(
            "--results",
            type=FilePath(),
            default=Path("results"),
            show_default=True,
            help="Folder of the studies.",
        ),
        click.option(
            "--storage",
            metavar="URL",
            help="Optuna storage: a database URL, an SQLite or a .journal file; results/STUDY/study.db by default.",
        ),
    )


def data_options(command: Function) -> Function:
    """Add the options of a data source: folders, columns and corrections."""
    return _add(
        command,
        click.option("--labels", help="Labels of IDRiD's Kaggle layout: as-given or official."),
        click.option("--images", help="Folder of the images of a table."),
        click.option("--image-column", help="Column with the names of the images."),
        click.option("--label-column", "--grade-column", "grade_column", help="Column with the labels."),
        click.option("--group-column", help="Column of groups that are not split, such as the patient."),
        click.option("--origin-column", help="Column with the part of each image: train or test."),
        click.option(
            "--group-lookalikes", flag_value="yes", help="Do not split images that occur twice in different files."
        ),
        click.option("--exclude", metavar="CSV", help="File with the ids of training images to leave out."),
        click.option("--relabel", metavar="CSV", help="File with ids and new labels of training images."),
    )


def class_options(command: Function) -> Function:
    """Add the options that a study records of its classes and its test part; later commands take them from it."""
    return _add(
        command,
        click.option(
            "--ordinal", flag_value="yes", help="The classes are grades: a class next to the true one is less wrong."
        ),
        click.option(
            "--classes", metavar="NAMES", help="Classes in their order, separated by commas; names for 0, 1 ..."
        ),
        click.option(
            "--test-fraction",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            help="Share of the images to hold out as the test part, where none is published, such as 0.2.",
        ),
    )


def limit_options(command: Function) -> Function:
    """Add the options that stop a run, and that limit retries."""
    return _add(
        command,
        click.option("--timeout", type=Duration(), help="Stop after this time: 600, 10m, 2h."),
        click.option("--trial-timeout", type=Duration(), help="Stop and retry a trial that takes longer."),
        click.option(
            "--max-retries", type=click.IntRange(0), default=1, show_default=True, help="Retries of a failed trial."
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
    """Add the options of executors, devices and the cache."""
    return _add(
        command,
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Run trials on this machine, or on a Ray cluster.",
        ),
        click.option(
            "--jobs", type=click.IntRange(1), help="Trials at once on the CPU or on Ray; as many as fit by default."
        ),
        click.option("--gpus", help="GPUs to use, such as 0,1; all by default."),
        click.option(
            "--trials-per-gpu",
            type=click.IntRange(1),
            help="Trials at once on each GPU; by default as many as fill it.",
        ),
        click.option("--ray-address", help="Ray cluster: auto or HOST:PORT; started here by default."),
        click.option(
            "--gpus-per-trial",
            type=float,
            help="GPUs of each trial on Ray, such as 0.5; by default 1 if there are any.",
        ),
        click.option("--cpus-per-trial", type=float, help="CPUs of each trial on Ray; 1 by default."),
        click.option(
            "--cache-size", type=Size(), help="Disk space for activations: 20GB; by default part of the free space."
        ),
        click.option("--no-cache", is_flag=True, help="Store no activations: compute frozen blocks in every epoch."),
    )


def _add(command: Function, *options: Callable[[Function], Function]) -> Function:
    for option in reversed(options):  # reversed, as decorators are applied from the last to the first
        command = option(command)
    return command


def select_data_options(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the given options of the data source; paths are absolute, since a study can be resumed elsewhere."""
    given = {name: str(values[name]) for name in DATA_OPTIONS if values.get(name) is not None}
    # A shell leaves the ~ in --exclude=~/e.csv.
    return {name: str(expand_home(value).absolute()) if name in _FILES else value for name, value in given.items()}


def to_run_options(values: dict[str, Any]) -> "RunOptions":
    """Return the options of a run from those of a command."""
    from study.setup.options import RunOptions

    others = {name: value for name, value in values.items() if name not in DATA_OPTIONS}
    if others.pop("no_cache"):
        if values["cache_size"]:
            raise click.UsageError("--no-cache stores nothing: leave --cache-size out")
        others["cache_size"] = 0
    others["gpus"] = values["gpus"].split(",") if values["gpus"] else None
    others["settings"] = read_settings(values.get("settings", ()))
    return RunOptions(**others, data_options=select_data_options(values), command=shown_command(values["storage"]))


def read_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``PATH=VALUE``, by path; values are read as in a search space.

    Raises:
        UsageError: when one is written otherwise, or a path is given twice.
    """
    from study.space.document import read_value

    settings: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = map(str.strip, assignment.partition("="))
        if not path or not equals:
            raise click.UsageError(f"--set {assignment}: write PATH=VALUE, such as batch_size=16")
        if path in settings:
            raise click.UsageError(f"--set {path} is given twice: keep one")
        settings[path] = read_value(text)
    return settings


def shown_command(storage: str | None) -> str:
    """Return the command as it was typed, without the password of a database, since it is stored and printed."""
    arguments = sys.argv[1:]
    if storage and "://" in storage:
        from study.storage.open import public_url

        arguments = [argument.replace(storage, public_url(storage)) for argument in arguments]
    return shlex.join(["drft-study", *arguments])
