"""The chapters of a report, one module each: they turn statistics into figures, tables and text."""

from collections.abc import Callable, Sequence

from study.analysis import Statistics
from study.report.chapters import (
    cost,
    depth,
    early,
    grading,
    importance,
    noise,
    opening,
    peak,
    pruning,
    selection,
    suspects,
    test_set,
    trials,
)
from study.report.chapters.parts import Chapter, Figure, FigurePair, ImageGallery, Part, Table, Text
from study.results.study_results import StudyResults

CHAPTERS: Sequence[Callable[[StudyResults, Statistics], Chapter]] = (
    opening.chapter,
    depth.chapter,
    peak.chapter,
    importance.chapter,
    selection.chapter,
    noise.chapter,
    early.chapter,
    pruning.chapter,
    cost.chapter,
    grading.chapter,
    suspects.chapter,
    test_set.chapter,
    trials.chapter,
)
"""In the order of the page. The template adds the answers to the first chapter and the trial table to the last."""


def write_chapters(results: StudyResults, statistics: Statistics) -> tuple[Chapter, ...]:
    """Return all chapters of a study's report."""
    return tuple(chapter(results, statistics) for chapter in CHAPTERS)


def all_figures(chapters: Sequence[Chapter]) -> list[Figure]:
    """Return the figures of all chapters, in order."""
    return [figure for chapter in chapters for figure in chapter.figures]


__all__ = [
    "CHAPTERS",
    "Chapter",
    "Figure",
    "FigurePair",
    "ImageGallery",
    "Part",
    "Table",
    "Text",
    "all_figures",
    "write_chapters",
]
