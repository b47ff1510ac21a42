"""``drft-study data``: check a data source, show its images, or download one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from study.cli.options import FilePath, class_options, data_options, select_data_options


@click.group(name="data")
def command() -> None:
    """Check a data source, show its images, or download one."""


@command.command()
@click.argument("source")
@data_options
@class_options
@click.option("--json", "json_file", type=FilePath(dir_okay=False), help="File for all findings.")
@click.option("--html", "html_file", type=FilePath(dir_okay=False), help="File for a page with images.")
def check(source: str, json_file: Path | None, html_file: Path | None, **values: Any) -> None:
    """Check SOURCE: files, duplicates, labels, columns and size.

    SOURCE is synthetic, synthetic:SEED, the name of a data set, a folder or a
    CSV file, as for run --data. A folder of images without labels can be
    checked, too. Duplicates are found even if one of them was encoded again,
    resized, brightened, rotated or mirrored, but not if it was cropped.

    Exit status: 0 no defects; 1 defects; 2 there is no such source.
    """
    from rich.console import Console

    from drft.data.checks import check_source
    from study.callbacks.progress_reporter import preparation

    with preparation(Console(stderr=True)) as progress:
        result = check_source(source, options=select_data_options(values), progress=progress)
    from study.cli.tables import print_table, say
    from study.data_check import text as wording

    say(wording.opening_words(result))
    if words := wording.label_words(result):
        say(words)
    headings = wording.headings(result)
    print_table(headings, wording.count_rows(result), right=headings[1:])
    for line in (wording.noise_words(result), wording.twin_words(result), *wording.finding_lines(result)):
        if line:
            say(line)
    if json_file is not None:
        _write_text(json_file, wording.as_json(result))
    if html_file is not None:
        from study.data_check.html import check_page

        _write_text(html_file, check_page(result))
    click.echo(wording.verdict(result))
    sys.exit(1 if result.defects else 0)


@command.command()
@click.argument("source")
@data_options
@class_options
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    default="preview.png",
    show_default=True,
    help="PNG file to write.",
)
@click.option(
    "--per-class", "--per-grade", "per_class", type=click.IntRange(1, 50), default=6, show_default=True,
    help="Images per class.",
)  # fmt: skip
@click.option(
    "--side", type=click.IntRange(16, 1024), default=192, show_default=True, help="Pixels of an image's side."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the augmentation.")
def preview(source: str, out: Path, per_class: int, side: int, seed: int, **values: Any) -> None:
    """Draw images of SOURCE by class, plain and augmented.

    One image of each class is shown at every augmentation strength. The images
    are cropped as for the network. Test images are not shown.
    """
    from rich.console import Console

    from drft.data import open_dataset
    from drft.data.preview import contact_sheet
    from study.callbacks.progress_reporter import preparation

    with preparation(Console(stderr=True)) as progress:
        dataset = open_dataset(source, options=select_data_options(values), progress=progress)
    sheet = contact_sheet(dataset, per_class, side, seed)
    _write(out, lambda draft: sheet.save(draft, format="PNG"))


@command.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download the data set NAME from Kaggle.

    NAME is idrid, aptos, eyepacs, messidor2 or ddr. This needs kagglehub (pip
    install kagglehub), and for some data sets a Kaggle account. Files that you
    put into the folder that the message names are used instead; retinamnist can
    only be put there by hand.
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
