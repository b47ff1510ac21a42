"""The test set: sealed until the best configurations are confirmed on it."""

from study.report.chapters.parts import Chapter, Text
from study.report.statistics import Statistics
from study.results import StudyResults

SEALED = (
    "The test photographs have not been looked at. Search, pruning and the choice of the best epoch used training and "
    "validation photographs only; the test set stays sealed until the best configurations are confirmed on it, once."
)


def chapter(results: StudyResults, statistics: Statistics) -> Chapter:
    """Say that the test set is sealed."""
    return Chapter("test", "Test set", "The test set", (Text(SEALED),))
