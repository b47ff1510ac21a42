"""Which mixture to take, by scores: on all images, or on many samples of them at once.

The mixtures of k trials are the non-empty subsets; the one at index i holds trial j where bit j of i + 1 is set. Scores
have one row per sample and one column per mixture.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Chosen = NDArray[np.int64]

_ROUNDING = 1e-6


def subsets(k: int) -> list[tuple[int, ...]]:
    """Return the non-empty subsets of k trials by index."""
    found = (members for size in range(1, k + 1) for members in combinations(range(k), size))
    return sorted(found, key=lambda members: sum(1 << one for one in members))


def single(trials: NDArray[np.int64]) -> Chosen:
    """Return the indices of mixtures of one trial."""
    return (1 << trials) - 1


def best_single(scores: Scores, k: int) -> NDArray[np.int64]:
    """Return the best trial of each sample, the first one on ties, shape (samples,)."""
    return first_best(scores[:, single(np.arange(k))])


def first_best(scores: Scores) -> NDArray[np.int64]:
    """Return the first of the best columns of each row; what differs by rounding alone is a tie."""
    return np.asarray((scores >= scores.max(axis=1, keepdims=True) - _ROUNDING).argmax(axis=1))


def greedy(scores: Scores, k: int) -> Chosen:
    """Put in one trial after the other, best first, and keep each that does not lower the score (greedy soup).

    Wortsman et al. 2022 (ICML), recipe 1; the authors' program asks for a rise.
    """
    rows = np.arange(len(scores))
    order = np.argsort(-np.round(scores[:, single(np.arange(k))], 6), axis=1, kind="stable")
    held = 1 << order[:, 0]
    for place in range(1, k):
        more = held | (1 << order[:, place])
        keeps = scores[rows, more - 1] >= scores[rows, held - 1] - _ROUNDING
        held = np.where(keeps, more, held)
    return np.asarray(held - 1)


def forward(scores: Scores, k: int) -> Chosen:
    """Put in whichever trial raises the score most, until all are in; take the best mixture on the way.

    Ensemble selection (Caruana et al. 2004) without replacement; of equal mixtures the smallest one.
    """
    rows = np.arange(len(scores))
    held = np.zeros(len(scores), dtype=np.int64)
    taken = np.zeros((0, len(scores)), dtype=np.int64)
    for _ in range(k):
        more = held[:, None] | (1 << np.arange(k))
        allowed = np.where(more != held[:, None], scores[rows[:, None], more - 1], -np.inf)
        held = more[rows, first_best(allowed)]
        taken = np.concatenate([taken, held[None]])
    best = first_best(scores[rows[:, None], taken.T - 1])
    return np.asarray(taken[best, rows] - 1)


def members_of(index: int, of: Sequence[int]) -> tuple[int, ...]:
    """Return the members of the mixture at an index."""
    return tuple(one for place, one in enumerate(of) if (index + 1) >> place & 1)
