"""``drft-study status``: print the progress of a study."""

from pathlib import Path

import click

from study.cli.options import study_options
from study.cli.tables import say


@click.command()
@click.argument("study")
@study_options
def command(study: str, results: Path, storage: str | None) -> None:
    """Print the progress of STUDY.

    It counts the trials by state, and shows the best trial, the last failures
    and the path of the report.
    """
    from study.report.status import status_lines

    for line in status_lines(study, results, storage):
        say(line)
