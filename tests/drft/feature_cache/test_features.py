import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.feature_cache.features import _SECONDS_PER_BYTE, ImageViews, boundaries_to_cache
from drft.feature_cache.network import BoundaryCost

COSTS = st.lists(
    st.builds(BoundaryCost, st.floats(1e-6, 1.0), st.integers(1, 10**8)), min_size=1, max_size=9
).map(lambda costs: dict(zip(range(len(costs) - 1, -1, -1), costs, strict=True)))  # fmt: skip


def test_a_boundary_is_cached_where_computing_takes_longer_than_copying():
    costs = {2: BoundaryCost(1e-6, 10**6), 1: BoundaryCost(1.0, 10**6), 0: BoundaryCost(1.0, 10**3)}
    assert boundaries_to_cache(costs, 0) == pytest.approx({1: (1.0 + 1e-6) / 10**6, 0: 1e-3})
    assert boundaries_to_cache(costs, 2) == {}


def test_the_cost_of_an_uncached_boundary_counts_for_the_next():
    costs = {2: BoundaryCost(1e-3, 10**6), 1: BoundaryCost(1e-3, 10**6), 0: BoundaryCost(1e-3, 10**6)}
    assert boundaries_to_cache(costs, 0) == pytest.approx({0: 3e-9})


@given(COSTS, st.integers(0, 8))
def test_cached_boundaries_save_time_and_do_not_depend_on_the_lowest_depth(costs, lowest):
    saved = boundaries_to_cache(costs, lowest)
    assert all(seconds_per_byte > _SECONDS_PER_BYTE for seconds_per_byte in saved.values())
    at_all_depths = boundaries_to_cache(costs, 0)
    assert saved == {depth: at_all_depths[depth] for depth in at_all_depths if depth >= lowest}


def test_names_differ_in_everything_that_views_depend_on():
    first, second = np.arange(4), np.arange(1, 5)
    images = [
        ImageViews(first),
        ImageViews(second),
        ImageViews(first, 1, 0.5),
        ImageViews(second, 1, 0.5),
        ImageViews(first, 2, 0.5),
        ImageViews(first, 1, 0.25),
    ]
    names = [views.name(seed) for views in images for seed in (0, 1)]
    plain = {views.name(seed) for views in images[:2] for seed in (0, 1)}
    assert len(plain) == 2  # plain images do not depend on the seed
    assert len(set(names)) == 2 + 4 * 2


def test_chunks_are_the_images_in_order():
    images = ImageViews(np.arange(1300)[::-1].copy(), 3, 0.5)
    assert [len(chunk.indices) for chunk in images.chunks] == [512, 512, 276]
    assert np.array_equal(np.concatenate([chunk.indices for chunk in images.chunks]), images.indices)
    assert {(chunk.view, chunk.strength) for chunk in images.chunks} == {(3, 0.5)}


def test_stored_rows_are_the_positions_of_images_in_the_chunks():
    images = ImageViews(np.array([4, 1100, 2998]), 1, 0.5, stored_indices=np.arange(0, 3000, 2))
    assert [len(chunk.indices) for chunk in images.chunks] == [512, 512, 476]
    stored = np.concatenate([chunk.indices for chunk in images.chunks])
    assert stored[images.stored_rows(np.array([2, 0]))].tolist() == [2998, 4]
