"""Columns that give the grade away: derived from it, or a shortcut that a network may take too."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

_FEWEST = 20
"""Rows below which nothing is said: a few rows agree by chance."""

_TOLD = 0.95
"""A column gives the grade away when it tells the grade of at least this share of the rows."""


def telling_columns(columns: Mapping[str, Sequence[str]], grades: Sequence[int]) -> dict[str, float]:
    """Return the columns that tell the grade, with the share of the rows for which they do.

    Each row's grade is guessed from the other rows (leave one out): as the most frequent grade among those of equal
    value, and for numbers also as the grade of the row with the nearest value. A column that names each row alone
    tells nothing by that measure, one that numbers rows sorted by grade does. The share must also be well above what
    always guessing the most frequent grade gets right.
    """
    if len(grades) < _FEWEST or len(set(grades)) < 2:
        return {}
    blind = Counter(grades).most_common(1)[0][1] / len(grades)
    enough = max(_TOLD, blind + 0.8 * (1 - blind))
    shares = {name: max(_by_value(cells, grades), _by_number(cells, grades)) for name, cells in columns.items()}
    return {name: share for name, share in shares.items() if share >= enough}


def _by_value(cells: Sequence[str], grades: Sequence[int]) -> float:
    """Return how often the other rows of equal value have the row's grade most often; rows alone count as wrong."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for cell, grade in zip(cells, grades, strict=True):
        counts[cell][grade] += 1
    right = 0
    for cell, grade in zip(cells, grades, strict=True):
        others = counts[cell] - Counter([grade])
        right += bool(others) and others.most_common(1)[0][0] == grade
    return right / len(grades)


def _by_number(cells: Sequence[str], grades: Sequence[int]) -> float:
    """Return how often the row with the nearest number has the row's grade; 0 for a column that is no number."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return 0.0
    order = sorted(range(len(numbers)), key=lambda row: (numbers[row], row))
    right = 0
    for place, row in enumerate(order):
        beside = [order[near] for near in (place - 1, place + 1) if 0 <= near < len(order)]
        nearest = min(beside, key=lambda other: abs(numbers[other] - numbers[row]))
        right += grades[nearest] == grades[row]
    return right / len(grades)
