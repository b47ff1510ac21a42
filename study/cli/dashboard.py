"""``drft-study dashboard``: open a study in the Optuna dashboard."""

from pathlib import Path

import click


@click.command()
@click.argument("study")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--storage", metavar="URL", help="Optuna storage that holds STUDY, as run --storage takes it.")
def command(study: str, port: int, host: str, results: Path, storage: str | None) -> None:
    """Open STUDY in the Optuna dashboard, with the report's figures and summary in it.

    STUDY is a name under --results, or the path of a study folder. Press Ctrl-C to end.
    """
    from drft.errors import StudyError
    from study.dashboard import LOOPBACK, open_dashboard, save_findings

    dashboard = open_dashboard(study, results, storage, host=host, port=port)
    try:
        save_findings(study, results, storage)
    except StudyError as error:
        click.echo(f"note: {error}; the dashboard opens without them", err=True)
    if host not in LOOPBACK:
        click.echo(f"note: whoever reaches {host} can read and delete studies; there is no password", err=True)
    click.echo(f"{dashboard.url}\nPress Ctrl-C to end.")
    try:
        dashboard.serve()
    except KeyboardInterrupt:
        click.echo()
