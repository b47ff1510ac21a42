"""``drft-study predict``: classify images with a trained model."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from study.cli.options import FilePath
from study.report.disclaimer import FULL_DISCLAIMER


@click.command(epilog=FULL_DISCLAIMER)
@click.argument("checkpoint", type=FilePath())
@click.argument("images", nargs=-1, required=True, type=FilePath())
@click.option(
    "--csv",
    "table",
    type=FilePath(dir_okay=False),
    help="CSV file to write, in place of a table here.",
)
def command(checkpoint: Path, images: Sequence[Path], table: Path | None) -> None:
    """Classify IMAGES, files or folders with subfolders, with the model of CHECKPOINT.

    CHECKPOINT is a folder written by `drft-study export`, or a .safetensors
    file: that of such a folder, or the best.safetensors of a trial.
    Images that cannot be read are named; the exit status is then 1.
    """
    from study.cli.tables import print_table, say
    from study.export.predict import CAUTION, find_images, headings, predict, write_predictions

    predictions, names, faults = predict(checkpoint, find_images(images))
    if table is None:
        columns = headings(names)
        print_table(
            columns,
            [(p.id, p.class_, *(f"{value:.3f}" for value in p.probabilities)) for p in predictions],
            right=columns[2:],
        )
    else:
        write_predictions(table, predictions, names)
        click.echo(table)
    for fault in faults:
        say(f"error: {fault}", err=True)
    say(CAUTION, err=True)
    if faults:
        sys.exit(1)
