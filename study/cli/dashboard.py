"""``drft-study dashboard``: open studies in the Optuna dashboard."""

from pathlib import Path

import click


@click.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--read-only", is_flag=True, help="Refuse every change, and write nothing to the storage.")
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Ask for the password in FILE (HTTP Basic, any user name). It travels as good as unencrypted: "
    "other machines should come through a proxy that speaks TLS.",
)
@click.option(
    "--refresh",
    metavar="SECONDS",
    type=click.FloatRange(1),
    default=30,
    show_default=True,
    help="Look for finished trials this often, and bring the figures up to date.",
)
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--storage", metavar="URL", help="Optuna storage that holds each STUDY, as run --storage takes it.")
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
    """Open studies in the Optuna dashboard, with the report's figures and summary and each trial's files in it.

    STUDY is a name under --results, or the path of a study folder. Press Ctrl-C to end.
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
        tell=lambda line: click.echo(f"note: {line}", err=True),
    )
    click.echo(f"{dashboard.url}\nPress Ctrl-C to end.")
    dashboard.serve()
    click.echo()
