"""Columns that reveal the grade: they are derived from it, or are a shortcut that a network may learn."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

_MIN_ROWS = 20
"""Fewer rows agree by chance too easily: then no column is reported."""

_MIN_SHARE = 0.95
"""A column reveals the grade when it predicts the grade of at least this share of the rows."""


def find_leaky_columns(columns: Mapping[str, Sequence[str]], grades: Sequence[int]) -> dict[str, float]:
    """Return the columns that predict the grade, with the share of the rows for which they do.

    The grade of each row is predicted from the other rows (leave one out): as the most frequent grade among rows of
    equal value, and for numbers also as the grade of the row with the nearest value. So a column with a unique name in
    each row predicts nothing, and one that numbers rows sorted by grade does. The share must also be well above that of
    always predicting the most frequent grade.
    """
    if len(grades) < _MIN_ROWS or len(set(grades)) < 2:
        return {}
    majority = Counter(grades).most_common(1)[0][1] / len(grades)
    threshold = max(_MIN_SHARE, majority + 0.8 * (1 - majority))
    shares = {name: max(_by_value(cells, grades), _by_number(cells, grades)) for name, cells in columns.items()}
    return {name: share for name, share in shares.items() if share >= threshold}


def _by_value(cells: Sequence[str], grades: Sequence[int]) -> float:
    """Return the share of rows whose grade is the most frequent one of the other rows of equal value."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for cell, grade in zip(cells, grades, strict=True):
        counts[cell][grade] += 1
    right = 0
    for cell, grade in zip(cells, grades, strict=True):
        others = counts[cell] - Counter([grade])
        right += bool(others) and others.most_common(1)[0][0] == grade
    return right / len(grades)


def _by_number(cells: Sequence[str], grades: Sequence[int]) -> float:
    """Return the share of rows whose grade is that of the row with the nearest number; 0 for cells that are text."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return 0.0
    order = sorted(range(len(numbers)), key=lambda row: (numbers[row], row))
    right = 0
    for index, row in enumerate(order):
        neighbours = [order[other] for other in (index - 1, index + 1) if 0 <= other < len(order)]
        nearest = min(neighbours, key=lambda other: abs(numbers[other] - numbers[row]))
        right += grades[nearest] == grades[row]
    return right / len(grades)
