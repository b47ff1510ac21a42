"""Write a comparison: an offline page, the same as Markdown, PNG figures and ``summary.json``."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from study.compare.chapters import comparison_chapters
from study.compare.comparison import Comparison
from study.report.chapters import all_figures
from study.report.disclaimer import RENDERED
from study.report.json_csv import plain
from study.report.page import environment, figures_json
from study.report.write import png_files, write_files

SCHEMA = 2

_LONGEST = 150
"""Letters of the longest name of a folder that is made of the names of studies."""


def write_comparison(comparison: Comparison, folder: Path, option: str = "--out") -> Path:
    """Write ``index.html``, ``compare.md``, its images and ``summary.json`` into a folder; return the page's path.

    Args:
        comparison: of the studies.
        folder: the folder; it need not exist.
        option: the command-line option that names it.

    Raises:
        StudyError: when the folder cannot be written.
    """
    chapters = comparison_chapters(comparison)
    names = [side.name for side in comparison.sides]
    rendered = [info.name for info in comparison.infos if info.dataset["rendered"]]
    context = {
        "name": ", ".join(names),
        "names": names,
        "rendered": bool(rendered),
        "rendered_note": _rendered_note(rendered, names),
        "chapters": chapters,
        "provenance": [(info.name, info.command) for info in comparison.infos],
    }
    page, markdown = (environment().get_template(name) for name in ("compare.html", "compare.md"))
    files: dict[str, str | bytes] = {
        **png_files(chapters),
        "summary.json": _summary(comparison),
        "compare.md": markdown.render(context),
        "index.html": page.render(context, figures=figures_json(all_figures(chapters))),
    }
    write_files(folder, files, option)
    return folder / "index.html"


def _rendered_note(rendered: Sequence[str], names: Sequence[str]) -> str:
    """Return the banner of the page; it names the studies of rendered images if there are others."""
    if len(rendered) == len(names):
        return RENDERED
    drawn = " and ".join(rendered)
    return f"Rendered images, not patients: a program drew those of {drawn}. No result on them applies to real eyes."


def default_folder(comparison: Comparison, results: Path) -> Path:
    """Return ``results/compare-A-B``, of the names of the studies' folders: in a storage, studies may have any name."""
    name = f"compare-{'-'.join(info.folder.resolve().name for info in comparison.infos)}"
    if len(name) > _LONGEST:  # comparisons of other studies with as long names have other folders
        name = f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return results / name


def _summary(comparison: Comparison) -> str:
    """Return ``schema`` (2), ``studies``, ``against`` (pairs) and ``changes`` as JSON, like a report's summary.

    The highest score of a depth is left out: beside that of another study it would be taken for its accuracy.
    """
    studies = plain(comparison.sides)
    for study in studies:
        for row in study["depths"] if isinstance(study["depths"], list) else ():
            del row["best"], row["best_trial"]
    summary = {
        "schema": SCHEMA,
        "studies": studies,
        "against": plain(comparison.against),
        "changes": plain(comparison.changes),
    }
    return json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
