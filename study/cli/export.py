"""``drft-study export``: write the model of a study, or its tables."""

from pathlib import Path
from typing import Any, Literal

import click

from study.cli.options import FilePath, data_options, select_data_options, study_options


@click.command()
@click.argument("study")
@click.option("--trial", type=click.IntRange(0), help="Trial whose model is written.")
@click.option("--refit", is_flag=True, help="Train one network of the recommended depth on all training images.")
@click.option("--onnx", is_flag=True, help="Also write the model as ONNX, and compare the two.")
@click.option("--table", type=click.Choice(["trials", "epochs"]), help="Write this table instead of a model.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet"]),
    help="Format of the table; parquet by default if the name of --out ends so, else csv.",
)
@click.option(
    "--out",
    type=FilePath(),
    help="Folder of the model, or file of the table. Without it, CSV is printed.",
)
@click.option("--data", help="Data source for --refit; that of the study by default.")
@data_options
@study_options
def command(
    study: str,
    trial: int | None,
    *,
    refit: bool,
    onnx: bool,
    table: Literal["trials", "epochs"] | None,
    form: Literal["csv", "parquet"] | None,
    out: Path | None,
    data: str | None,
    results: Path,
    storage: str | None,
    **values: Any,
) -> None:
    """Write the best model of STUDY, or a table of its trials or epochs.

    The best model of a study with --goal depth is the ensemble of the fold
    models of the recommended depth; else it is that of the best trial. --refit
    trains one network instead, on all training images, for as many epochs as
    cross-validation chose. A model comes with its configuration and a model
    card. STUDY is a name under --results, or the path of a study folder.
    """
    from study.results.study_results import read_study

    options = select_data_options(values)
    if refit and trial is not None:
        raise click.UsageError("--refit trains the recommended depth: leave --trial out")
    if (data or options) and not refit:
        raise click.UsageError("only --refit reads images: leave the options of the data out, or add --refit")

    if table is None:
        if form is not None:
            raise click.UsageError("--format is for tables: name one with --table, or leave it out")
        if out is None:
            raise click.UsageError("name the folder of the model with --out, or a table with --table")
        from study.export.model import export_model, export_refit

        if refit:
            from rich.console import Console

            read, console = read_study(study, results, storage), Console(stderr=True)
            click.echo(export_refit(read, out, data=data, data_options=options, onnx=onnx, console=console))
            return
        click.echo(export_model(read_study(study, results, storage), out, trial, onnx=onnx))
        return
    if trial is not None or onnx or refit:
        raise click.UsageError("--trial, --refit and --onnx are for models: leave them out, or leave --table out")
    from study.export.tables import export_table

    if form is None:
        form = "parquet" if out is not None and out.suffix.lower() == ".parquet" else "csv"
    text = export_table(read_study(study, results, storage), table, form, out)
    click.echo(out if text is None else text, nl=text is None)
