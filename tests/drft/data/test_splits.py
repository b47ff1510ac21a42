"""Properties of the stratified split."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.config import SplitConfig
from drft.data.cohort import Cohort, Photograph
from drft.data.splits import stratified_split
from drft.errors import DataError


def make_cohort(rows):
    """Build a cohort from (grade, origin, group) without any files."""
    photographs = tuple(
        Photograph(f"{origin}/{number}", Path(f"{number}.jpg"), grade, origin, str(group))
        for number, (grade, origin, group) in enumerate(rows)
    )
    return Cohort("made", photographs, "0" * 64)


def single(*counts, origin="train", first=0):
    """Return rows of as many photographs of each grade as counted, each on its own."""
    grades = [grade for grade, count in enumerate(counts) for _ in range(count)]
    return [(grade, origin, f"{origin}{first + number}") for number, grade in enumerate(grades)]


origins = st.sampled_from(["train", "train", "train", "test"])
rows = st.lists(st.tuples(st.integers(0, 4), origins, st.integers(0, 25)), max_size=60)
enough = single(3, 3, 3, 3, 3)
configs = st.builds(SplitConfig, validation_fraction=st.floats(0.05, 0.6), seed=st.integers(0, 1000))


@given(rows, configs)
def test_parts_are_disjoint_complete_and_keep_groups_whole(some, config):
    cohort = make_cohort(some + enough)
    split = stratified_split(cohort, config)
    parts = [set(part.tolist()) for part in (split.train, split.validation, split.test)]
    groups = [{cohort.photographs[index].group for index in part} for part in parts]

    assert sum(map(len, parts)) == len(set.union(*parts))
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert parts[2] == {index for index, photograph in enumerate(cohort.photographs) if photograph.origin == "test"}
    left_out = set(range(len(cohort))) - set.union(*parts)
    assert all(cohort.photographs[index].group in groups[2] for index in left_out)
    assert all(list(part) == sorted(part) and part.dtype == np.int64 for part in (split.train, split.validation))


@given(st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=30), min_size=1, max_size=5), configs)
def test_every_grade_gives_its_share_as_nearly_as_groups_allow(sizes, config):
    some = [
        (grade, "train", f"{grade}-{place}")
        for grade, groups in enumerate(sizes)
        for place, size in enumerate(groups)
        for _ in range(size)
    ]
    cohort = make_cohort(some)
    split = stratified_split(cohort, config)
    labels = cohort.labels()

    for grade, groups in enumerate(sizes):
        held = int((labels[split.validation] == grade).sum())
        wanted = config.validation_fraction * sum(groups)
        forced = held == min(groups) or held >= sum(groups) - max(groups)
        assert 0 < held < sum(groups)
        assert forced or abs(held - wanted) <= max(groups) / 2


@given(rows, configs)
def test_same_seed_same_split(some, config):
    cohort = make_cohort(some + enough)

    first, second = stratified_split(cohort, config), stratified_split(cohort, config)

    assert all(np.array_equal(getattr(first, part), getattr(second, part)) for part in ("train", "validation", "test"))


def test_other_seeds_give_other_splits():
    cohort = make_cohort(single(40, 40, 40, 40, 40))
    found = {tuple(stratified_split(cohort, SplitConfig(seed=seed)).validation) for seed in range(10)}

    assert len(found) == 10


def test_idrid_counts():
    cohort = make_cohort(single(134, 20, 136, 74, 49) + single(34, 5, 32, 19, 13, origin="test"))
    split = stratified_split(cohort, SplitConfig())

    assert (len(split.train), len(split.validation), len(split.test)) == (330, 83, 103)
    assert np.bincount(cohort.labels()[split.validation]).tolist() == [27, 4, 27, 15, 10]


def test_a_grade_of_one_photograph_is_trained_on():
    split = stratified_split(make_cohort(single(10, 1)), SplitConfig())

    assert 10 in split.train


@pytest.mark.parametrize("some", [[], single(1, 1, 1), [(0, "train", "same")] * 5, single(5, origin="test")])
def test_too_few_photographs(some):
    with pytest.raises(DataError, match="too few training photographs"):
        stratified_split(make_cohort(some), SplitConfig())
