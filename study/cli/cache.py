"""``drft-study cache``: print what the cache contains, or empty it."""

import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from drft.feature_cache.usage import FileTotals


@click.group(name="cache")
def command() -> None:
    """Print what the cache contains, or empty it.

    It stores decoded and rendered images and the activations of frozen blocks,
    all of which can be computed again. The environment variable DRFT_CACHE
    names another folder for it.
    """


@command.command()
def info() -> None:
    """Print the folder of the cache and what it contains."""
    from drft.feature_cache.index import activations_folder, default_budget
    from drft.feature_cache.usage import usage
    from drft.files.atomic import default_cache_dir
    from drft.files.sizes import format_size
    from study.cli.tables import print_table

    cache_dir = default_cache_dir()
    cache = usage(cache_dir)
    click.echo(f"{cache_dir} (the environment variable DRFT_CACHE names another folder)")
    parts = {"decoded images": cache.decoded, "rendered images": cache.rendered, "activations": cache.activations}
    rows = [(name, *_cells(totals)) for name, totals in parts.items()]
    total_size = sum(totals.size for totals in parts.values())
    rows.append(("total", str(sum(totals.files for totals in parts.values())), format_size(total_size), ""))
    print_table(("cache", "files", "size", "last used"), rows, right=("files", "size"))
    click.echo(f"activations may use {format_size(default_budget(activations_folder(cache_dir)))} by default")
    if not cache.groups:
        return
    # One row for each cache group. Its columns are whatever the groups describe themselves by.
    names = list(dict.fromkeys(name for group in cache.groups for name in group.description))
    group_rows = sorted(
        (*(str(group.description.get(name, "?")) for name in names), *_cells(group.totals)) for group in cache.groups
    )
    header = tuple(name.replace("_", " ") for name in names)
    click.echo()
    print_table((*header, "entries", "size", "last used"), group_rows, right=("entries", "size"))


@command.command()
@click.option("--all", "everything", is_flag=True, help="Also delete decoded and rendered images.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def clear(everything: bool, yes: bool) -> None:
    """Delete the activations in the cache.

    Running studies continue and compute again what they need.
    """
    from drft.feature_cache.usage import clear as clear_cache
    from drft.files.atomic import default_cache_dir
    from drft.files.sizes import format_size

    cache_dir = default_cache_dir()
    what = "activations, decoded and rendered images" if everything else "activations"
    if not yes:
        click.confirm(f"Delete all {what} in {cache_dir}?", abort=True)
    deleted = clear_cache(cache_dir, images=everything)
    files = "1 file" if deleted.files == 1 else f"{deleted.files} files"
    click.echo(f"{files} deleted, {format_size(deleted.size)} freed")


def _cells(totals: "FileTotals") -> tuple[str, str, str]:
    """Return number of files, size and time of last use."""
    from drft.files.sizes import format_size

    used = "" if totals.last_used is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(totals.last_used))
    return str(totals.files), format_size(totals.size), used
