"""``drft-study confirm``: open the test set of a study once, perhaps after its best trials are retrained."""

import sys
from typing import Any

import click

from study.cli.grouped_command import GroupedCommand
from study.cli.options import data_options, limit_options, placement_options, study_options, to_run_options


@click.command(cls=GroupedCommand, explained=("Data", "Compute"))
@click.argument("study")
@click.option("--top", type=click.IntRange(1), help="Best completed trials to retrain; 5 by default.")
@click.option("--seeds", type=click.IntRange(1), help="New seeds, each with its split; 5 by default.")
@click.option("--data", help="Data source; that of the study by default.")
@data_options
@study_options
@limit_options
@placement_options
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report again at the end.")
def command(study: str, top: int | None, seeds: int | None, data: str | None, **values: Any) -> None:
    """Open the test set of STUDY once, and say whether its promise was kept.

    The recommended model of a study with --goal depth, its untuned
    configuration and its floor are scored on the held-out test images. Nothing
    is trained for that.

    A study with --goal best makes no promise: its best trials and the base
    configuration are trained with new seeds and new splits, the same for all
    of them, and then scored. --top or --seeds does the same with --goal depth.
    Rerun the same command to resume.

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
