"""Tables on the standard output: with lines on a terminal, as plain aligned columns elsewhere."""

import sys
from collections.abc import Sequence

import click

Row = Sequence[str]


def print_table(header: Row, rows: Sequence[Row], right: Sequence[str] = ()) -> None:
    """Print a table; the columns named in ``right`` are aligned to the right."""
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD)
        for name in header:
            table.add_column(name, justify="right" if name in right else "left")
        for row in rows:
            table.add_row(*row)
        Console(markup=False, highlight=False).print(table)
        return
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        click.echo("  ".join(cells).rstrip())
