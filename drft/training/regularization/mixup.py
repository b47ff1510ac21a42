"""Mixup of what crosses a boundary: every image of a batch is mixed with another one, and so is its loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from drft.feature_cache.split_model import Activations


@dataclass(frozen=True, slots=True)
class MixedBatch:
    """Rows of the training part that make one update."""

    rows: NDArray[np.int64]
    partners: NDArray[np.int64]
    """The row that each row is mixed with."""
    share: float = 1.0
    """How much of a mixed image is of its own row; 1 mixes nothing."""

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self, size: int | None) -> list["MixedBatch"]:
        """Divide into parts of ``size`` rows at most that differ by one at most; None leaves it whole."""
        count = -(-len(self) // (size or len(self)))
        halves = (np.array_split(rows, count) for rows in (self.rows, self.partners))
        return [MixedBatch(rows, partners, self.share) for rows, partners in zip(*halves, strict=True)]


def mixed_batches(batches: Sequence[NDArray[np.int64]], alpha: float, seed: int, step: int) -> Iterator[MixedBatch]:
    """Draw for every batch of a step which rows are mixed, and how (mixup, Zhang et al. 2018).

    One share of Beta(alpha, alpha) for a batch, partners from the same batch. Equal seed and step give equal draws, and
    nothing else is drawn from.

    Args:
        batches: rows of the training part.
        alpha: 0 mixes nothing.
        seed: of the training.
        step: of the epoch.
    """
    # The batch order has this key too: the counter keeps the two streams apart.
    bits = np.random.Philox(key=np.array([seed, step], dtype=np.uint64), counter=[0, 0, 0, 1])
    generator = np.random.Generator(bits)
    for rows in batches:
        if alpha:
            yield MixedBatch(rows, generator.permutation(rows), float(generator.beta(alpha, alpha)))
        else:
            yield MixedBatch(rows, rows)


def mix(activations: Activations, others: Activations, share: float) -> Activations:
    """Return ``share · a + (1 - share) · b`` of what crosses a boundary, tensor by tensor (Verma et al. 2019)."""
    return tuple(torch.lerp(other, own, share) for own, other in zip(activations, others, strict=True))
