"""Results as files: JSON with everything that was measured, and a page with the table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from drft.files.atomic import whole_file

TableOf = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Column titles and rows."""


def work_line(work: Mapping[str, Any]) -> str:
    """Say in a line what was worked on."""
    data = f"{work['data']}, {work['photographs_train']} + {work['photographs_test']} images"
    training = f"{work['head_epochs']} + {work['depth_epochs']} epochs, batches of {work['batch_size']}"
    return f"{data}; {work['backbone']} at {work['image_size']} px; {training}, batch norm {work['batch_norm']}."


def markdown_page(title: str, result: Mapping[str, Any], tables: Sequence[TableOf], notes: Sequence[str]) -> str:
    """Return tables, their notes and where they were made as a page."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores ({machine['instructions']}); {packages}."
    heading = f"# {title}: {result['label']}"
    bodies = [markdown_table(*table) for table in tables]
    return "\n\n".join([heading, f"`{result['command']}`", *bodies, *notes, where]) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def show_table(title: str, table: TableOf, console: Console) -> None:
    """Print a table."""
    columns, rows = table
    drawn = Table(*columns, title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for cells in rows:
        drawn.add_row(*cells)
    console.print(drawn)


def write_result(stem: Path, result: Mapping[str, Any], page: str, notes: Sequence[str], console: Console) -> None:
    """Print the notes and write ``STEM.json`` and ``STEM.md``."""
    for note in notes:
        console.print(note, markup=False, highlight=False)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("json", "md")]
    for path, text in zip(paths, (json.dumps(result, indent=1) + "\n", page), strict=True):
        with whole_file(path) as draft:
            draft.write_text(text)
    console.print(f"Written to {' and '.join(map(str, paths))}", markup=False, highlight=False, soft_wrap=True)
