"""``drft-study status``: how far a study is."""

from pathlib import Path

import click


@click.command()
@click.argument("study")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--storage", metavar="URL", help="Optuna storage that holds STUDY, as run --storage takes it.")
def command(study: str, results: Path, storage: str | None) -> None:
    """Say how far STUDY is: trials by state, the best one, the last failures, and where the report is."""
    from study.report.status import status_lines

    for line in status_lines(study, results, storage):
        click.echo(line)
