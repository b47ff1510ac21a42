"""Read a study, compute, draw, and write ``results/STUDY/report``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from study.analysis import summarize
from study.report.chapters import Chapter, all_exhibits, write_chapters
from study.report.json_csv import csv, summary_json, suspects_table
from study.report.label_decisions import with_decisions
from study.report.page import html_page, markdown_page
from study.report.png import image
from study.report.thumbnails import NO_THUMBNAILS, Thumbnails, thumbnails
from study.results.files import write_whole
from study.results.study_results import StudyInfo, read_study


def write_report(
    study: str, results: Path = Path("results"), storage: str | None = None, *, images: bool = True
) -> Path:
    """Write the report of a study, finished or not, and return the path of its page.

    All files are made before the first is written, and each is replaced whole; ``index.html`` comes last.

    Args:
        study: a name under ``results``, the path of a study folder or, with ``storage``, a name in that storage.
        results: folder of studies.
        storage: URL of an Optuna storage; None for the ``study.db`` of the study's folder.
        images: whether the page shows small copies of images; without them it names their ids only.

    Raises:
        StudyError: when there is no such study, or its folder cannot be written.
    """
    read = read_study(study, results, storage)
    statistics = summarize(read)
    chapters = write_chapters(read, statistics)
    folder = read.info.folder / "report"
    files: dict[str, str | bytes] = {
        **png_files(chapters),
        "trials.csv": csv(read.trials),
        "epochs.csv": csv(read.epochs),
        "suspects.csv": csv(with_decisions(suspects_table(statistics.suspects), folder / "suspects.csv")),
        "summary.json": summary_json(read, statistics),
        "report.md": markdown_page(read, statistics, chapters),
        "index.html": html_page(
            read, statistics, chapters, _thumbnails(read.info, chapters) if images else NO_THUMBNAILS
        ),
    }
    write_files(folder, files)
    return folder / "index.html"


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files in their order, each whole, and remove images that are not among them.

    Raises:
        StudyError: when the folder cannot be written.
    """
    for name, content in files.items():
        write_whole(folder / name, content)
    for old in (folder / "figures").glob("*.png"):
        if f"figures/{old.name}" not in files:
            old.unlink()


def png_files(chapters: Sequence[Chapter]) -> dict[str, bytes]:
    """Return the figures of chapters as PNG, by file name."""
    shown = (exhibit for exhibit in all_exhibits(chapters) if exhibit.drawings)
    return {f"figures/{exhibit.id}.png": image(exhibit.drawings["wide"]) for exhibit in shown}


def _thumbnails(info: StudyInfo, chapters: Sequence[Chapter]) -> Thumbnails:
    return thumbnails(info, [name for chapter in chapters for name in chapter.images])
