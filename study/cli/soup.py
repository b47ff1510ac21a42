"""``drft-study soup``: combine the best trials of a study without training."""

from pathlib import Path
from typing import Any

import click

from study.cli.options import data_options, select_data_options, study_options


@click.command()
@click.argument("study")
@click.option("--top", type=click.IntRange(2, 8), default=5, show_default=True, help="Best trials to combine.")
@click.option("--data", help="Data source; that of the study by default.")
@data_options
@study_options
def command(study: str, top: int, data: str | None, results: Path, storage: str | None, **values: Any) -> None:
    """Combine the best trials of STUDY: model soups, WiSE-FT, ensembles.

    Nothing is trained, and the test images stay held out: the combinations are
    scored on the validation images, and by the next `drft-study confirm` on the
    test images. Writes results/STUDY/soup/, with the best weights as
    best.safetensors.

    STUDY is a name under --results, or the path of a study folder.
    """
    from rich.console import Console

    from study.cli.tables import print_table, say

    console = Console(stderr=True)
    with console.status("starting"):
        from study.soup.run import make_soups
    from study.soup.report import SHORT_HEADINGS, short_rows, verdict

    soups, folder = make_soups(
        study, results, storage, top=top, data=data, data_options=select_data_options(values), console=console
    )
    print_table(SHORT_HEADINGS, short_rows(soups))
    click.echo()
    for line in (*verdict(soups), f"All figures, limits and weights: {folder}"):
        say(line)
