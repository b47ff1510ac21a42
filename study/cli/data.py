"""``drft-study data``: check a data source before anything is trained on it."""

import sys
from pathlib import Path
from typing import Any

import click

from study.cli.options import data_options, given_of_data


@click.group(name="data")
def command() -> None:
    """Check a data source before anything is trained on it."""


@command.command()
@click.argument("source")
@data_options
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all findings there.")
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with photographs there."
)
def check(source: str, json_file: Path | None, html_file: Path | None, **given: Any) -> None:
    """Check SOURCE: files, duplicates, labels, columns, and what its size allows.

    SOURCE is synthetic, idrid, a folder, or a CSV file, as for run --data; a folder of photographs without a label
    table will do too. Duplicates are found though one was encoded again, resized, brightened, rotated or mirrored; not
    though it was cropped.

    Exit status: 0 sound, or nothing but notes; 1 defects were found; 2 there is no such source.
    """
    from rich.console import Console

    from drft.data.checks import check_source
    from study.progress import preparation

    with preparation(Console(stderr=True)) as tell:
        found = check_source(source, options=given_of_data(given), progress=tell)
    from study.cli.tables import print_table
    from study.datadesk import wording

    click.echo(wording.opening_words(found))
    print_table(wording.HEADINGS, wording.count_rows(found), right=wording.HEADINGS[1:])
    for line in (wording.noise_words(found), wording.twin_words(found), *wording.finding_lines(found)):
        if line:
            click.echo(line)
    if json_file is not None:
        _write(json_file, wording.as_json(found))
    if html_file is not None:
        from study.datadesk.page import check_page

        _write(html_file, check_page(found))
    click.echo(wording.verdict(found))
    sys.exit(1 if found.defects else 0)


def _write(path: Path, text: str) -> None:
    from drft.data.cache import whole_file
    from drft.errors import UsageError

    try:
        with whole_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror or error}): name another file") from None
    click.echo(f"Written: {path}")
