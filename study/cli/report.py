"""``drft-study report``: write the report of a study."""

from pathlib import Path

import click


@click.command()
@click.argument("study")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--storage", metavar="URL", help="Optuna storage that holds STUDY, as run --storage takes it.")
@click.option("--images/--no-images", default=True, help="Show small copies of images whose labels are suspect.")
def command(study: str, results: Path, storage: str | None, *, images: bool) -> None:
    """Write the report of STUDY and print where it is.

    STUDY is a name under --results, or the path of a study folder. A study that still runs can be reported, too.
    """
    from study.report.write import write_report

    click.echo(write_report(study, results, storage, images=images))
