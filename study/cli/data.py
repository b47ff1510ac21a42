"""``drft-study data``: check a data source, show its images, or fetch one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from study.cli.options import data_options, given_of_data


@click.group(name="data")
def command() -> None:
    """Check a data source, show its images, or fetch one."""


@command.command()
@click.argument("source")
@data_options
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all findings there.")
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with images there."
)
def check(source: str, json_file: Path | None, html_file: Path | None, **given: Any) -> None:
    """Check SOURCE: files, duplicates, labels, columns, and what its size allows.

    SOURCE is synthetic, the name of a data set, a folder, or a CSV file, as for run --data; a folder of images
    without labels will do too. Duplicates are found though one was encoded again, resized, brightened, rotated or
    mirrored; not though it was cropped.

    Exit status: 0 sound, or nothing but notes; 1 defects were found; 2 there is no such source.
    """
    from rich.console import Console

    from drft.data.checks import check_source
    from study.callbacks.progress_reporter import preparation

    with preparation(Console(stderr=True)) as tell:
        found = check_source(source, options=given_of_data(given), progress=tell)
    from study.cli.tables import print_table
    from study.data_check import text as wording

    click.echo(wording.opening_words(found))
    headings = wording.headings(found)
    print_table(headings, wording.count_rows(found), right=headings[1:])
    for line in (wording.noise_words(found), wording.twin_words(found), *wording.finding_lines(found)):
        if line:
            click.echo(line)
    if json_file is not None:
        _write_text(json_file, wording.as_json(found))
    if html_file is not None:
        from study.data_check.html import check_page

        _write_text(html_file, check_page(found))
    click.echo(wording.verdict(found))
    sys.exit(1 if found.defects else 0)


@command.command()
@click.argument("source")
@data_options
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default="preview.png", show_default=True, help="The PNG."
)
@click.option("--per-grade", type=click.IntRange(1, 50), default=6, show_default=True, help="Images of each grade.")
@click.option("--side", type=click.IntRange(16, 1024), default=192, show_default=True, help="Pixels of each image.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the augmented views.")
def preview(source: str, out: Path, per_grade: int, side: int, seed: int, **given: Any) -> None:
    """Draw images of SOURCE by grade, and one of each grade at every augmentation strength.

    The images are cropped as the networks see them. Test images are not shown.
    """
    from rich.console import Console

    from drft.data import open_dataset
    from drft.data.preview import contact_sheet
    from study.callbacks.progress_reporter import preparation

    with preparation(Console(stderr=True)) as tell:
        dataset = open_dataset(source, options=given_of_data(given), progress=tell)
    sheet = contact_sheet(dataset, per_grade, side, seed)
    _write(out, lambda draft: sheet.save(draft, format="PNG"))


@command.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download the data set NAME: idrid, aptos, eyepacs, messidor2 or ddr, from Kaggle.

    Needs kagglehub (pip install "drft-study[kaggle]") and for some sets a Kaggle account. Files that were put by hand
    where the message says are used instead; retinamnist is always put there by hand.
    """
    from drft.data.datasets import download as downloads
    from study.data_check import download_text as fetching

    for line in fetching.before(downloads.find_download(name)):
        click.echo(line)
    fetched = downloads.inspect_download(name, downloads.fetch(name))
    for line in fetching.after(downloads.find_download(name), fetched):
        click.echo(line)
    sys.exit(1 if fetching.is_doubtful(downloads.find_download(name), fetched) else 0)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    from drft.errors import UsageError
    from drft.files.atomic import whole_file

    try:
        with whole_file(path) as draft:
            write(draft)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror or error}): name another file") from None
    click.echo(f"Written: {path}")


def _write_text(path: Path, text: str) -> None:
    _write(path, lambda draft: draft.write_text(text, encoding="utf-8"))
