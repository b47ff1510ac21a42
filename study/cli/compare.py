"""``drft-study compare``: compare studies side by side."""

from pathlib import Path

import click

from study.cli.options import FilePath, study_options


@click.command()
@click.argument("studies", nargs=-1, required=True)
@click.option("--out", type=FilePath(), help="Folder to write; results/compare-A-B by default.")
@study_options
def command(studies: tuple[str, ...], out: Path | None, results: Path, storage: str | None) -> None:
    """Compare two or more STUDIES, and print the path of the page.

    Each is a name under --results, or the path of a study folder. They may
    differ in anything: backbone, data, space. Verdicts are compared image by
    image where the images are the same. A study without a verdict is compared
    by the accuracy that is expected of its best trial, not by its best score.
    """
    from study.cli.tables import print_table, say
    from study.compare.chapters import against_text, side_by_side
    from study.compare.comparison import compare
    from study.compare.write import default_folder, write_comparison
    from study.report.write import check_folder

    if out is not None:
        check_folder(out, "comparison")
    comparison = compare(studies, results, storage)
    option = "--results" if out is None else "--out"
    page = write_comparison(comparison, out or default_folder(comparison, results), option)
    print_table(*side_by_side(comparison))
    click.echo()
    for against in comparison.against:
        say(against_text(against))
    click.echo(page)
