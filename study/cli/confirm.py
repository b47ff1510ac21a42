"""``drft-study confirm``: retrain the best trials of a study, then open its test set once."""

import sys
from pathlib import Path
from typing import Any

import click

from study.cli.options import data_options, limit_options, placement_options, run_options


@click.command()
@click.argument("study")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Best completed trials to retrain.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Fresh seeds, each with its split.")
@click.option("--data", help="Where the images are now; where they were by default.")
@data_options
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--storage", metavar="URL", help="Optuna storage that holds STUDY, instead of its study.db.")
@limit_options
@placement_options
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report anew at the end.")
def command(study: str, top: int, seeds: int, data: str | None, **given: Any) -> None:
    """Retrain the best trials of STUDY, then open the test set once.

    The best trials and the base configuration are trained on fresh seeds and fresh splits, the same ones for all; when
    every training has ended, the sealed test images are scored. The same command, run again, goes on where it was.

    STUDY is a name under --results, or the path of a study folder.
    """
    from study.executors.local.process import warm_up

    warm_up()  # torch takes its seconds to import: there, while this process gets everything else ready
    from rich.console import Console

    console = Console()
    with console.status("starting"):
        from study.confirm.run import confirm_study
    outcome = confirm_study(study, run_options(given), top=top, seeds=seeds, data=data, console=console)
    if outcome is not None and outcome.ended == "interrupted":
        sys.exit(130)
    if outcome is not None and outcome.ended == "failing":
        sys.exit(1)
