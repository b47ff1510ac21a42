"""``drft-study predict``: grade images with a trained model."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from study.report.disclaimer import FULL_DISCLAIMER


@click.command(epilog=FULL_DISCLAIMER)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file to write, in place of a table here.",
)
def command(checkpoint: Path, images: Sequence[Path], table: Path | None) -> None:
    """Grade IMAGES, files or folders, with the model of CHECKPOINT.

    CHECKPOINT is a folder written by `drft-study export`, or a .safetensors
    file: that of such a folder, or the best.safetensors of a trial.
    Images that cannot be read are named; the exit status is then 1.
    """
    from study.cli.tables import print_table
    from study.export.predict import CAUTION, COLUMNS, find_images, predict, write_predictions

    predictions, faults = predict(checkpoint, find_images(images))
    if table is None:
        columns = [f"p{grade}" for grade in range(len(predictions[0].probabilities))]
        print_table(
            (*COLUMNS, *columns),
            [(p.id, str(p.grade), *(f"{value:.3f}" for value in p.probabilities)) for p in predictions],
            right=("grade", *columns),
        )
    else:
        write_predictions(table, predictions)
        click.echo(table)
    for fault in faults:
        click.echo(f"error: {fault}", err=True)
    click.echo(CAUTION, err=True)
    if faults:
        sys.exit(1)
