import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.feature_cache.features import _SECONDS_PER_BYTE, ImageViews, boundaries_to_cache
from drft.feature_cache.network import BoundaryCost

COSTS = st.lists(
    st.builds(BoundaryCost, st.floats(1e-6, 1.0), st.integers(1, 10**8)), min_size=1, max_size=9
).map(lambda costs: dict(zip(range(len(costs) - 1, -1, -1), costs, strict=True)))  # fmt: skip


def test_a_boundary_is_kept_where_computing_takes_longer_than_copying():
    costs = {2: BoundaryCost(1e-6, 10**6), 1: BoundaryCost(1.0, 10**6), 0: BoundaryCost(1.0, 10**3)}
    assert boundaries_to_cache(costs, 0) == pytest.approx({1: (1.0 + 1e-6) / 10**6, 0: 1e-3})
    assert boundaries_to_cache(costs, 2) == {}


def test_what_is_passed_by_counts_for_the_next():
    costs = {2: BoundaryCost(1e-3, 10**6), 1: BoundaryCost(1e-3, 10**6), 0: BoundaryCost(1e-3, 10**6)}
    assert boundaries_to_cache(costs, 0) == pytest.approx({0: 3e-9})


@given(COSTS, st.integers(0, 8))
def test_what_is_kept_saves_more_than_it_costs_and_does_not_depend_on_what_is_asked(costs, lowest):
    worth = boundaries_to_cache(costs, lowest)
    assert all(each > _SECONDS_PER_BYTE for each in worth.values())
    everything = boundaries_to_cache(costs, 0)
    assert worth == {depth: each for depth, each in everything.items() if depth >= lowest}


def test_names_tell_apart_all_that_views_depend_on():
    some, others = np.arange(4), np.arange(1, 5)
    images = [
        ImageViews(some),
        ImageViews(others),
        ImageViews(some, 1, 0.5),
        ImageViews(others, 1, 0.5),
        ImageViews(some, 2, 0.5),
        ImageViews(some, 1, 0.25),
    ]
    names = [each.name(seed) for each in images for seed in (0, 1)]
    plain = {each.name(seed) for each in images[:2] for seed in (0, 1)}
    assert len(plain) == 2  # no seed has a part in images as they are
    assert len(set(names)) == 2 + 4 * 2


def test_sheets_are_the_images_in_order():
    images = ImageViews(np.arange(1300)[::-1].copy(), 3, 0.5)
    assert [len(sheet.indices) for sheet in images.chunks] == [512, 512, 276]
    assert np.array_equal(np.concatenate([sheet.indices for sheet in images.chunks]), images.indices)
    assert {(sheet.view, sheet.strength) for sheet in images.chunks} == {(3, 0.5)}


def test_images_are_found_in_the_sheets_they_are_kept_in():
    among = np.arange(0, 3000, 2)
    images = ImageViews(np.array([4, 1100, 2998]), 1, 0.5, among)
    assert [len(sheet.indices) for sheet in images.chunks] == [512, 512, 476]
    kept = np.concatenate([sheet.indices for sheet in images.chunks])
    assert kept[images.stored_rows(np.array([2, 0]))].tolist() == [2998, 4]
