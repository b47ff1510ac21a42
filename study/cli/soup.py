"""``drft-study soup``: put the best trials of a study together, without training."""

from pathlib import Path
from typing import Any

import click

from study.cli.options import data_options, given_of_data


@click.command()
@click.argument("study")
@click.option("--top", type=click.IntRange(2, 8), default=5, show_default=True, help="Best trials to put together.")
@click.option("--data", help="Where the images are now; where they were by default.")
@data_options
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--storage", metavar="URL", help="Optuna storage that holds STUDY, instead of its study.db.")
def command(study: str, top: int, data: str | None, results: Path, storage: str | None, **given: Any) -> None:
    """Put the best trials of STUDY together: model soups, WiSE-FT, ensembles, temperatures.

    Nothing is trained, and the test images stay sealed: mixtures are judged on validation, and on the test set by
    the next `drft-study confirm`. Writes results/STUDY/soup/, with the best weights as best.safetensors.

    STUDY is a name under --results, or the path of a study folder.
    """
    from rich.console import Console

    from study.cli.tables import print_table

    console = Console(stderr=True)
    with console.status("starting"):
        from study.soup.run import make_soups
    from study.soup.report import HEADINGS, TEMPERED, rows, tempered_rows, verdict

    soups, folder = make_soups(
        study, results, storage, top=top, data=data, data_options=given_of_data(given), console=console
    )
    print_table(HEADINGS, rows(soups))
    click.echo()
    print_table(TEMPERED, tempered_rows(soups))
    click.echo()
    for line in (*verdict(soups), f"Figures, limits and weights: {folder}"):
        click.echo(line)
