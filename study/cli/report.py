"""``drft-study report``: write the report of a study."""

from pathlib import Path

import click

from study.cli.options import FilePath, study_options


@click.command()
@click.argument("study")
@study_options
@click.option("--images/--no-images", default=True, help="Show small copies of images whose labels are suspect.")
@click.option("--out", type=FilePath(), help="Folder of the report; that of the study by default.")
def command(study: str, results: Path, storage: str | None, *, images: bool, out: Path | None) -> None:
    """Write the report of STUDY and print its path.

    STUDY is a name under --results, or the path of a study folder. It may still
    be running.
    """
    from study.report.write import write_report

    click.echo(write_report(study, results, storage, images=images, out=out))
