"""``drft-study export``: a study's tables for other programs."""

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("study")
@click.option("--table", type=click.Choice(["trials", "epochs"]), default="trials", show_default=True)
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; CSV is printed without.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--storage", metavar="URL", help="Optuna storage that holds STUDY, instead of its study.db.")
def command(
    study: str,
    table: Literal["trials", "epochs"],
    form: Literal["csv", "parquet"],
    out: Path | None,
    results: Path,
    storage: str | None,
) -> None:
    """Write the trials or epochs of STUDY as CSV or Parquet.

    STUDY is a name under --results, or the path of a study folder.
    """
    from study.export import export_table
    from study.results import read_study

    text = export_table(read_study(study, results, storage), table, form, out)
    click.echo(out if text is None else text, nl=text is None)
