"""The chapters of a report, one module each: they turn statistics into figures, tables and text."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from study.analysis import Statistics
from study.report.chapters import (
    confusion,
    cost,
    curves,
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
from study.report.chapters.parts import Chapter, Code, Figure, ImageGallery, Pair, Part, Table, Text
from study.results.study_results import StudyResults

FIRST_LEVEL: Sequence[Callable[[StudyResults, Statistics], Chapter]] = (
    opening.chapter,
    curves.chapter,
    peak.chapter,
    confusion.chapter,
    test_set.chapter,
)
"""What every reader needs, in the order of the page. The template adds the answers to the first chapter."""

STATISTICS: Sequence[Callable[[StudyResults, Statistics], Chapter]] = (
    depth.chapter,
    peak.search_chapter,
    importance.chapter,
    selection.chapter,
    noise.chapter,
    early.chapter,
    pruning.chapter,
    cost.chapter,
    grading.chapter,
    suspects.chapter,
    trials.chapter,
)
"""Everything else, in the section "Statistics". The template adds the trial table to the last chapter."""


def write_chapters(results: StudyResults, statistics: Statistics) -> tuple[Chapter, ...]:
    """Return all chapters of a study's report."""
    return (
        *(chapter(results, statistics) for chapter in FIRST_LEVEL),
        *(replace(chapter(results, statistics), folded=True) for chapter in STATISTICS),
    )


def all_figures(chapters: Sequence[Chapter]) -> list[Figure]:
    """Return the figures of all chapters, in order."""
    return [figure for chapter in chapters for figure in chapter.figures]


__all__ = [
    "FIRST_LEVEL",
    "STATISTICS",
    "Chapter",
    "Code",
    "Figure",
    "ImageGallery",
    "Pair",
    "Part",
    "Table",
    "Text",
    "all_figures",
    "write_chapters",
]
