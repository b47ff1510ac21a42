"""The command line: one module per command, imported when the command is used, so that ``--help`` stays fast."""

import errno
import importlib
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import click

from drft.errors import DrftError, UsageError
from drft.memory_limit import low_address_space
from drft.python_path import SAFE_PATH
from study.cli.tables import say
from study.report.disclaimer import DISCLAIMER

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "run": "Run a study: many short two-phase trainings, then a report.",
        "report": "Write the report of a study.",
        "confirm": "Open the test set once: was the promise kept?",
        "soup": "Combine the best trials of a study: soups and ensembles.",
        "compare": "Compare studies side by side.",
        "export": "Write the model of a study, or its tables.",
        "predict": "Classify images with a trained model.",
        "status": "Print the progress of a study.",
        "dashboard": "Open studies in the Optuna dashboard.",
        "blocks": "Print the blocks of a backbone and what each depth trains.",
        "spaces": "List, check and explain search spaces.",
        "data": "Check a data source, show its images, or download one.",
        "cache": "Print what the cache contains, or empty it.",
    }
)


class _LazyGroup(click.Group):
    """Imports ``study.cli.NAME`` (its ``command``) only when NAME is called."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EOFError as error:  # click would take it for an interruption by the user
            raise RuntimeError("a file or a pipe ended too early") from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"study.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    help=f"How deep should one fine-tune, and can one believe the answer?\n\n{DISCLAIMER}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="drft-study")
def cli() -> None:
    """Group the commands."""


_SURROUNDINGS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
"""Errors of the system that are no faults of this program, wherever they come from."""


def _leave(line: str) -> NoReturn:
    """Print a line and exit with 1, without a second complaint about an output that cannot be written."""
    click.echo(line, err=True)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try again at its end, and fail with a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


def _storage_fault(error: Exception) -> str | None:
    """Return the error of a storage as one line; None for any other error."""
    if not sys.modules.keys() & {"optuna", "sqlalchemy"}:  # no storage was opened
        return None
    from study.storage.open import storage_fault  # it takes half a second

    return storage_fault(error)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    os.environ.update(SAFE_PATH)  # for all processes that this one starts, those of libraries included
    try:
        cli(standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk can be named
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _SURROUNDINGS:
            advice = "a shorter name" if error.errno == errno.ENAMETOOLONG else "a place that can be written"
            _leave(f"error: {error.filename or 'the output'}: {error.strerror}: choose {advice}")
        if not isinstance(error, DrftError):
            if fault := low_address_space():
                _leave(f"error: {fault}")
            if reason := _storage_fault(error):
                _leave(f"error: {reason}")
            raise
        for line in str(error).splitlines():
            say(f"error: {line}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
