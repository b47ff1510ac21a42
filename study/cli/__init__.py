"""The command line: one module per command, imported when it is asked for, so that ``--help`` stays fast."""

import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType

import click

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "run": "Run a study: many short two-phase trainings, then a report.",
        "report": "Write the report of a study.",
        "confirm": "Retrain the best trials of a study, then open its test set once.",
        "soup": "Put the best trials of a study together: soups, ensembles, WiSE-FT.",
        "compare": "Compare studies side by side.",
        "export": "Write the model of a study, or its tables.",
        "predict": "Grade images with a trained model.",
        "status": "Say how far a study is.",
        "dashboard": "Open a study in the Optuna dashboard.",
        "blocks": "Print the freeze map of a backbone.",
        "spaces": "List, check and explain search spaces.",
        "data": "Check a data source, show its images, or fetch one.",
        "cache": "Say what the cache holds, or empty it.",
    }
)


class _LazyGroup(click.Group):
    """Imports ``study.cli.NAME`` (its ``command``) only when NAME is called."""

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


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="drft-study")
def cli() -> None:
    """How deep should one fine-tune, and can one believe the answer?

    For research and education only; nothing here is a medical device.
    """


def main() -> None:
    """Run the command line; exit 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except Exception as error:
        from drft.errors import DrftError, UsageError

        if not isinstance(error, DrftError):
            raise
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
