"""``drft-study confirm``: retrain the best trials of a study, then open its test set once."""

import sys
from typing import Any

import click

from study.cli.options import data_options, limit_options, placement_options, study_options, to_run_options


@click.command()
@click.argument("study")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Best completed trials to retrain.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="New seeds, each with its split.")
@click.option("--data", help="Data source; that of the study by default.")
@data_options
@study_options
@limit_options
@placement_options
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report again at the end.")
def command(study: str, top: int, seeds: int, data: str | None, **values: Any) -> None:
    """Retrain the best trials of STUDY, then open the test set once.

    The best trials and the base configuration are trained with new seeds and
    new splits, the same for all of them. After the last training, the held-out
    test images are scored. Rerun the same command to resume.

    STUDY is a name under --results, or the path of a study folder.
    """
    from study.executors.local.process import warm_up

    warm_up()  # torch is imported in the worker server, while this process prepares the run
    from rich.console import Console

    console = Console()
    with console.status("starting"):
        from study.confirm.run import confirm_study
    outcome = confirm_study(study, to_run_options(values), top=top, seeds=seeds, data=data, console=console)
    if outcome is not None and outcome.ended == "interrupted":
        sys.exit(130)
    if outcome is not None and outcome.ended == "failing":
        sys.exit(1)
