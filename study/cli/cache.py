"""``drft-study cache``: what is kept to be computed only once, and how to be rid of it."""

import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from drft.feature_cache.usage import FileTotals, GroupUsage


@click.group(name="cache")
def command() -> None:
    """Say what the cache holds, or empty it.

    It keeps decoded and rendered images and the activations of frozen blocks, all of which can be computed
    again. The environment variable DRFT_CACHE names another folder for it.
    """


@command.command()
def info() -> None:
    """Print where the cache is and what it holds."""
    from drft.feature_cache.index import activations_folder, default_budget
    from drft.feature_cache.usage import usage
    from drft.files.atomic import default_cache_dir
    from drft.files.sizes import format_size
    from study.cli.tables import print_table

    cache_dir = default_cache_dir()
    held = usage(cache_dir)
    parts = {
        "decoded images": held.decoded,
        "rendered images": held.rendered,
        "activations": held.activations,
    }
    click.echo(f"{cache_dir} (the environment variable DRFT_CACHE names another)")
    rows = [(name, *_cells(volume)) for name, volume in parts.items()]
    total = sum(volume.files for volume in parts.values()), sum(volume.size for volume in parts.values())
    rows.append(("total", str(total[0]), format_size(total[1]), ""))
    print_table(("cache", "files", "size", "last used"), rows, right=("files", "size"))
    click.echo(f"activations may take {format_size(default_budget(activations_folder(cache_dir)))} by default")
    if held.groups:
        _print_shelves(held.groups)


@command.command()
@click.option("--all", "everything", is_flag=True, help="Decoded and rendered images too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(everything: bool, yes: bool) -> None:
    """Delete the activations in the cache.

    A study that runs goes on and computes again what it needs.
    """
    from drft.feature_cache.usage import clear as clear_cache
    from drft.files.atomic import default_cache_dir
    from drft.files.sizes import format_size

    cache_dir = default_cache_dir()
    what = "activations, decoded and rendered images" if everything else "activations"
    if not yes:
        click.confirm(f"Delete all {what} in {cache_dir}?", abort=True)
    gone = clear_cache(cache_dir, images=everything)
    files = "1 file" if gone.files == 1 else f"{gone.files} files"
    click.echo(f"{files} deleted, {format_size(gone.size)} freed")


def _print_shelves(groups: "tuple[GroupUsage, ...]") -> None:
    """Print one row for each shelf; its columns are whatever the shelves say of themselves."""
    from study.cli.tables import print_table

    names = list(dict.fromkeys(name for group in groups for name in group.about))
    rows = sorted((*(str(group.about.get(name, "?")) for name in names), *_cells(group.volume)) for group in groups)
    header = tuple(name.replace("_", " ") for name in names)
    click.echo()
    print_table((*header, "entries", "size", "last used"), rows, right=("entries", "size"))


def _cells(volume: "FileTotals") -> tuple[str, str, str]:
    """Return number, size and time of last use."""
    from drft.files.sizes import format_size

    used = "" if volume.used is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(volume.used))
    return str(volume.files), format_size(volume.size), used
