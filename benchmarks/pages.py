"""Result files: JSON with everything that was measured, and a Markdown page with the tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from drft.files.atomic import whole_file
from study.analysis.estimators.intervals import mean_estimate

ResultTable = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Column titles and rows."""


def mean_text(shares: Sequence[float], form: str = "{:.1f}") -> str:
    """Return the mean of shares in percent with its 95 % t interval, such as ``44.7 (43.2 to 46.3)``.

    Args:
        shares: between 0 and 1.
        form: of a number.
    """
    estimate = mean_estimate(shares)
    if estimate.low is None or estimate.high is None:
        return form.format(100 * estimate.value)
    value, low, high = (form.format(100 * part) for part in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def work_line(work: Mapping[str, Any]) -> str:
    """Return one line that describes the data and the trainings."""
    data = f"{work['data']}, {work['photographs_train']} + {work['photographs_test']} images"
    training = f"{work['head_epochs']} + {work['depth_epochs']} epochs, batches of {work['batch_size']}"
    return f"{data}; {work['backbone']} at {work['image_size']} px; {training}, batch norm {work['batch_norm']}."


def markdown_page(title: str, result: Mapping[str, Any], tables: Sequence[ResultTable], notes: Sequence[str]) -> str:
    """Return a page with the command, the tables, their notes and the machine."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    processor = f"{machine['processor']}, {machine['cores']} cores ({machine['instructions']}); {packages}."
    bodies = [
        "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))
        for columns, rows in tables
    ]
    return "\n\n".join([f"# {title}: {result['label']}", f"`{result['command']}`", *bodies, *notes, processor]) + "\n"


def publish(
    title: str,
    stem: Path,
    result: Mapping[str, Any],
    tables: Sequence[ResultTable],
    notes: Sequence[str],
    console: Console,
) -> None:
    """Print tables and notes, and write ``STEM.json`` and ``STEM.md``."""
    for columns, rows in tables:
        heading = f"{title}: {result['label']}"
        printed = Table(*columns, title=heading, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for cells in rows:
            printed.add_row(*cells)
        console.print(printed)
    for note in notes:
        console.print(note, markup=False, highlight=False)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("json", "md")]
    texts = json.dumps(result, indent=1) + "\n", markdown_page(title, result, tables, notes)
    for path, text in zip(paths, texts, strict=True):
        with whole_file(path) as draft:
            draft.write_text(text)
    console.print(f"Written to {' and '.join(map(str, paths))}", markup=False, highlight=False, soft_wrap=True)
