"""Tables and lines of text: broken at words and with rules on a terminal, plain elsewhere."""

import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

Row = Sequence[str]


def say(line: str, *, err: bool = False) -> None:
    """Print a line to the standard output or error; on a terminal it is broken at words, indented as it begins."""
    if (sys.stderr if err else sys.stdout).isatty():
        indent = line[: len(line) - len(line.lstrip())]
        width = shutil.get_terminal_size().columns
        line = textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    click.echo(line, err=err)


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
