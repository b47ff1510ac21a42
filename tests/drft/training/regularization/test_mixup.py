"""Which images are mixed follows from seed and step; how, from the formula."""

import numpy as np
import torch

from drft.training.regularization.mixup import MixedBatch, mix, mixed_batches

BATCHES = [np.arange(0, 16), np.arange(16, 30)]


def test_partners_come_from_the_batch_and_shares_from_the_beta_distribution():
    many = list(mixed_batches([np.arange(8)] * 4000, 0.5, seed=1, step=2))
    assert all(sorted(batch.partners) == list(range(8)) for batch in many)
    shares = np.array([batch.share for batch in many])
    assert abs(shares.mean() - 0.5) < 0.02
    assert abs(shares.var() - 1 / 8) < 0.01  # 1 / (4 (2 alpha + 1))


def test_draws_follow_from_seed_and_step():
    def drawn(seed, step):
        return [(batch.partners.tolist(), batch.share) for batch in mixed_batches(BATCHES, 1.0, seed, step)]

    torch.manual_seed(5)
    first = drawn(1, 2)
    assert drawn(1, 2) == first
    assert drawn(1, 3) != first
    assert drawn(2, 2) != first


def test_alpha_0_mixes_nothing():
    for batch, rows in zip(mixed_batches(BATCHES, 0.0, 1, 2), BATCHES, strict=True):
        assert batch.share == 1
        assert batch.partners is rows


def test_parts_keep_rows_with_their_partners():
    batch = MixedBatch(np.arange(10), np.arange(10)[::-1], 0.3)
    parts = batch.parts(4)
    assert [len(part) for part in parts] == [4, 3, 3]
    assert all((part.rows + part.partners == 9).all() and part.share == 0.3 for part in parts)
    assert len(batch.parts(None)) == 1


def test_every_tensor_is_mixed_by_the_share():
    own, other = (torch.tensor([[1.0, 2.0]]), torch.tensor([4.0])), (torch.tensor([[3.0, 0.0]]), torch.tensor([0.0]))
    mixed = mix(own, other, 0.25)
    torch.testing.assert_close(mixed, (torch.tensor([[2.5, 0.5]]), torch.tensor([1.0])))
