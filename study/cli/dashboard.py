"""``drft-study dashboard``: open studies in the Optuna dashboard."""

from pathlib import Path

import click

from study.cli.options import FilePath, study_options


@click.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--read-only", is_flag=True, help="Refuse every change, and write nothing to the storage.")
@click.option(
    "--password-file",
    metavar="FILE",
    type=FilePath(),
    help="Ask for the password in FILE (HTTP Basic, any user name). It is sent practically unencrypted: put a "
    "proxy with TLS in front if other machines connect.",
)
@click.option(
    "--refresh",
    metavar="SECONDS",
    type=click.FloatRange(1),
    default=30,
    show_default=True,
    help="Interval at which finished trials are looked up and figures updated.",
)
@study_options
def command(
    studies: tuple[str, ...],
    port: int,
    host: str,
    read_only: bool,
    password_file: Path | None,
    refresh: float,
    results: Path,
    storage: str | None,
) -> None:
    """Open studies in the Optuna dashboard.

    It also has the figures and the summary of the report, and the files of each
    trial. STUDY is a name under --results, or the path of a study folder. Press
    Ctrl-C to stop.
    """
    from study.dashboard import open_dashboard

    dashboard = open_dashboard(
        studies,
        results,
        storage,
        host=host,
        port=port,
        password_file=password_file,
        read_only=read_only,
        refresh=refresh,
        notify=lambda line: click.echo(f"note: {line}", err=True),
    )
    click.echo(f"{dashboard.url}\nPress Ctrl-C to stop.")
    dashboard.serve()
    click.echo()
