"""Write a comparison: a page that opens offline, its Markdown twin, and its figures for programs."""

import json
from pathlib import Path
from typing import Any

from study.compare.chapters import comparison_chapters
from study.compare.comparison import Comparison
from study.report.chapters import Chapter, all_exhibits
from study.report.json_csv import plain
from study.report.page import DISCLAIMER, RENDERED, environment, figures_json, plotly_script
from study.report.write import png_files, write_files

SCHEMA = 1


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write ``index.html``, ``compare.md``, its images and ``summary.json`` into a folder; return the page's path.

    Raises:
        StudyError: when the folder cannot be written.
    """
    chapters = comparison_chapters(comparison)
    context = _context(comparison, chapters)
    page = environment().get_template("compare.html")
    files: dict[str, str | bytes] = {
        **png_files(chapters),
        "summary.json": _summary(comparison),
        "compare.md": environment().get_template("compare.md").render(**context),
        "index.html": page.render(**context, figures=figures_json(all_exhibits(chapters)), plotly=plotly_script()),
    }
    write_files(folder, files)
    return folder / "index.html"


def default_folder(comparison: Comparison, results: Path) -> Path:
    """Return ``results/compare-A-B``."""
    return results / f"compare-{'-'.join(side.name for side in comparison.sides)}"[:150]


def _context(comparison: Comparison, chapters: tuple[Chapter, ...]) -> dict[str, Any]:
    rendered = any(info.dataset["rendered"] for info in comparison.infos)
    return {
        "names": [side.name for side in comparison.sides],
        "commands": [(info.name, info.command) for info in comparison.infos],
        "banner": RENDERED if rendered else "",
        "chapters": chapters,
        "disclaimer": DISCLAIMER,
    }


def _summary(comparison: Comparison) -> str:
    """Hold ``schema`` (1), ``studies``, ``against`` (pairs) and ``changes``, in the manner of a report's summary."""
    told = {
        "schema": SCHEMA,
        "studies": plain(comparison.sides),
        "against": plain(comparison.against),
        "changes": plain(comparison.changes),
    }
    return json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
