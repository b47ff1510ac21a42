"""Read a study, compute its statistics, and write ``results/STUDY/report``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from drft.errors import StudyError
from study.analysis import summarize
from study.report.chapters import Chapter, all_figures, write_chapters
from study.report.json_csv import csv, summary_json, suspects_table
from study.report.label_decisions import with_decisions
from study.report.page import html_page, markdown_page
from study.report.png import image
from study.report.thumbnails import NO_THUMBNAILS, thumbnails
from study.results.files import write_whole
from study.results.study_results import read_study

_NAMES = ("index.html", "report.md", "compare.md", "summary.json", "trials.csv", "epochs.csv", "suspects.csv")
"""Names of the files of reports and comparisons."""

_TITLE = re.compile(r"<title>[^<]* · drft-study (\w+)</title>")
"""The title of their pages, which ends with the kind of page."""


def write_report(
    study: str | Path,
    results: Path | str = Path("results"),
    storage: str | None = None,
    *,
    images: bool = True,
    out: Path | str | None = None,
) -> Path:
    """Write the report of a study, finished or not, and return the path of its page.

    All files are created before the first is written, and each is replaced atomically; ``index.html`` is the last.

    Args:
        study: a name under ``results``, the path of a study folder or, with ``storage``, a name in that storage.
        results: folder of studies.
        storage: URL of an Optuna storage; None for the ``study.db`` of the study's folder.
        images: whether the page shows small copies of images; otherwise it lists their ids only.
        out: folder of the report; None for ``report`` in the study's folder.

    Raises:
        StudyError: when there is no such study, or the folder cannot be written or holds files of somebody else.
    """
    if out is not None:
        check_folder(Path(out), "report")
    loaded = read_study(study, results, storage)
    statistics = summarize(loaded)
    chapters = write_chapters(loaded, statistics)
    usual = loaded.info.folder / "report"
    folder = Path(out or usual)
    small = NO_THUMBNAILS
    if images:
        small = thumbnails(loaded.info, [name for chapter in chapters for name in chapter.images])
    suspects = suspects_table(statistics.suspects, loaded.info)
    files: dict[str, str | bytes] = {
        **png_files(chapters),
        "trials.csv": csv(loaded.trials),
        "epochs.csv": csv(loaded.epochs),
        "suspects.csv": csv(with_decisions(suspects, [usual / "suspects.csv", folder / "suspects.csv"])),
        "summary.json": summary_json(loaded, statistics),
        "report.md": markdown_page(loaded, statistics, chapters),
        "index.html": html_page(loaded, statistics, chapters, small),
    }
    write_files(folder, files, "--results" if out is None else "--out")
    return folder / "index.html"


def check_folder(folder: Path, kind: Literal["report", "comparison"]) -> None:
    """Check that a folder that a user names holds nothing that would be replaced, but a former page of the same kind.

    Raises:
        StudyError: when the folder is that of a study, or has files of the names of a report and no such page.
    """
    if any((folder / name).exists() for name in ("study.yaml", "study.db")):
        raise StudyError(f"{folder} is the folder of a study: name another folder with --out")
    page = folder / "index.html"
    title = _TITLE.search(page.read_text(encoding="utf-8", errors="replace")) if page.is_file() else None
    if title is not None and title[1] == kind:
        return
    found = [name for name in _NAMES if (folder / name).exists()]
    if found:
        raise StudyError(
            f"{folder} holds {', '.join(found)} and no {kind} of drft-study: name another folder with --out, or remove "
            "what would be replaced"
        )


def write_files(folder: Path, files: Mapping[str, str | bytes], option: str) -> None:
    """Write files in order, each atomically, and remove the images of the former report that are not among them.

    Args:
        folder: of the report; it need not exist.
        files: content by name.
        option: the command-line option that names the folder.

    Raises:
        StudyError: when the folder cannot be written.
    """
    former = {name for text in files if text.endswith(".md") for name in _images_of(folder / text)}
    for name, content in files.items():
        write_whole(folder / name, content, f"choose another folder with {option}")
    for name in former.difference(files):
        (folder / name).unlink(missing_ok=True)


def _images_of(markdown: Path) -> list[str]:
    """Return the images that a former report shows; a folder that a user names may hold other ones, too."""
    try:
        text = markdown.read_text(encoding="utf-8", errors="replace")
    except OSError:  # there is none
        return []
    return re.findall(r"^!\[.*\]\((figures/[\w-]+\.png)\)$", text, re.MULTILINE)


def png_files(chapters: Sequence[Chapter]) -> dict[str, bytes]:
    """Return the figures of chapters as PNG, by file name."""
    return {
        f"figures/{figure.id}.png": image(figure.drawings["wide"])
        for figure in all_figures(chapters)
        if figure.drawings
    }
