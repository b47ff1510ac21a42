"""Mixup of features (Verma et al. 2019): every image of a batch is mixed with another one, and so is its loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from drft.feature_cache.cache_file import Activations


@dataclass(frozen=True, slots=True)
class MixedBatch:
    """Rows of the training part for one optimizer step."""

    rows: NDArray[np.int64]
    partners: NDArray[np.int64]
    """The row that each row is mixed with."""
    share: float = 1.0
    """Weight of its own row in a mixed image; 1 mixes nothing."""

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self, size: int | None) -> list["MixedBatch"]:
        """Divide into parts of at most ``size`` rows, of sizes that differ by at most one; None keeps it whole."""
        count = -(-len(self) // (size or len(self)))
        halves = (np.array_split(rows, count) for rows in (self.rows, self.partners))
        return [MixedBatch(rows, partners, self.share) for rows, partners in zip(*halves, strict=True)]


def mixed_batches(batches: Sequence[NDArray[np.int64]], alpha: float, seed: int, step: int) -> Iterator[MixedBatch]:
    """Draw partners and share for every batch of an epoch (mixup, Zhang et al. 2018).

    A batch has one share from Beta(alpha, alpha), and partners come from the same batch. Equal seed and step give equal
    draws; no other random state is used.

    Args:
        batches: rows of the training part.
        alpha: 0 mixes nothing.
        seed: of the training.
        step: number of the epoch through both phases.
    """
    # The batch order uses the same key; the counter makes this a stream of its own.
    bits = np.random.Philox(key=np.array([seed, step], dtype=np.uint64), counter=[0, 0, 0, 1])
    generator = np.random.Generator(bits)
    for rows in batches:
        if alpha:
            yield MixedBatch(rows, generator.permutation(rows), float(generator.beta(alpha, alpha)))
        else:
            yield MixedBatch(rows, rows)


def mix(activations: Activations, others: Activations, share: float) -> Activations:
    """Return ``share · a + (1 - share) · b``, tensor by tensor."""
    return tuple(torch.lerp(other, own, share) for own, other in zip(activations, others, strict=True))
