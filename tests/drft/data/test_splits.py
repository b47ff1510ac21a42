"""Properties of the stratified split."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.config.trial_config import SplitConfig
from drft.data.dataset import ImageDataset, LabeledImage
from drft.data.splits import stratified_folds, stratified_split
from drft.errors import DataError


def make_dataset(rows):
    """Build a data set from (grade, origin, group) without any files."""
    images = tuple(
        LabeledImage(f"{origin}/{number}", Path(f"{number}.jpg"), grade, origin, str(group))
        for number, (grade, origin, group) in enumerate(rows)
    )
    return ImageDataset("made", images, "0" * 64)


def single(*counts, origin="train", first=0):
    """Return rows of the given numbers of images of each grade, each in a group of its own."""
    grades = [grade for grade, count in enumerate(counts) for _ in range(count)]
    return [(grade, origin, f"{origin}{first + number}") for number, grade in enumerate(grades)]


origins = st.sampled_from(["train", "train", "train", "test"])
rows = st.lists(st.tuples(st.integers(0, 4), origins, st.integers(0, 25)), max_size=60)
enough = single(3, 3, 3, 3, 3)
configs = st.builds(SplitConfig, validation_fraction=st.floats(0.05, 0.6), seed=st.integers(0, 1000))


@given(rows, configs)
def test_parts_are_disjoint_complete_and_keep_groups_whole(some, config):
    dataset = make_dataset(some + enough)
    split = stratified_split(dataset, config)
    parts = [set(part.tolist()) for part in (split.train, split.validation, split.test)]
    groups = [{dataset.images[index].group for index in part} for part in parts]

    assert sum(map(len, parts)) == len(set.union(*parts))
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert parts[2] == {index for index, image in enumerate(dataset.images) if image.origin == "test"}
    left_out = set(range(len(dataset))) - set.union(*parts)
    assert all(dataset.images[index].group in groups[2] for index in left_out)
    assert all(list(part) == sorted(part) and part.dtype == np.int64 for part in (split.train, split.validation))


def dataset_of_groups(sizes):
    """Make a training data set from the sizes of each grade's groups."""
    some = [
        (grade, "train", f"{grade}-{index}")
        for grade, groups in enumerate(sizes)
        for index, size in enumerate(groups)
        for _ in range(size)
    ]
    return make_dataset(some)


@given(st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=30), min_size=1, max_size=5), configs)
def test_the_share_of_each_grade_is_as_close_as_groups_allow(sizes, config):
    dataset = dataset_of_groups(sizes)
    split = stratified_split(dataset, config)
    labels = dataset.labels()

    for grade, groups in enumerate(sizes):
        size = int((labels[split.validation] == grade).sum())
        wanted = config.validation_fraction * sum(groups)
        forced = size == min(groups) or size >= sum(groups) - max(groups)
        assert 0 < size < sum(groups)
        assert forced or abs(size - wanted) <= max(groups) / 2


folds = st.integers(2, 6)
seeds = st.integers(0, 1000)


@given(rows, folds, seeds)
def test_folds_partition_the_training_images_and_keep_groups_whole(some, count, seed):
    dataset = make_dataset(some + enough)
    parts = [part.tolist() for part in stratified_folds(dataset, count, seed)]
    groups = [{dataset.images[index].group for index in part} for part in parts]
    held_out = {image.group for image in dataset.images if image.origin == "test"}
    free = [index for index, image in enumerate(dataset.images) if image.group not in held_out]

    assert len(parts) == count
    assert all(parts)
    assert all(part == sorted(part) for part in parts)
    assert sorted(index for part in parts for index in part) == free
    assert sum(map(len, groups)) == len(set.union(*groups))


@given(st.lists(st.lists(st.integers(1, 3), min_size=6, max_size=30), min_size=1, max_size=5), folds, seeds)
def test_folds_share_each_grade_as_evenly_as_groups_allow(sizes, count, seed):
    dataset = dataset_of_groups(sizes)
    parts = stratified_folds(dataset, count, seed)
    counted = np.array([np.bincount(dataset.labels()[part], minlength=len(sizes)) for part in parts])

    assert (np.ptp(counted, axis=0) <= [max(groups) for groups in sizes]).all()


@given(st.lists(st.integers(0, 30), min_size=5, max_size=5).filter(lambda counts: sum(counts) >= 6), folds, seeds)
def test_folds_of_single_images_are_even(counts, count, seed):
    dataset = make_dataset(single(*counts))
    parts = stratified_folds(dataset, count, seed)
    counted = np.array([np.bincount(dataset.labels()[part], minlength=5) for part in parts])

    assert np.ptp(counted, axis=0).max() <= 1
    assert np.ptp(counted.sum(axis=1)) <= 1


def test_folds_of_pairs_of_eyes_share_a_rare_grade():
    pairs = [(grade, "train", f"pair{pair}") for pair in range(60) for grade in (0, 4 if pair < 10 else 1)]
    dataset = make_dataset(pairs)
    rare = [int((dataset.labels()[part] == 4).sum()) for part in stratified_folds(dataset, 5, 0)]

    assert rare == [2] * 5


@given(rows, folds, seeds)
def test_a_fold_validates_and_the_others_train(some, count, seed):
    dataset = make_dataset(some + enough)
    parts = stratified_folds(dataset, count, seed)
    split = stratified_split(dataset, SplitConfig(folds=count, fold=count - 1, seed=seed))

    assert np.array_equal(split.validation, parts[-1])
    assert sorted(split.train) == sorted(np.concatenate(parts[:-1]))
    assert [dataset.images[index].origin for index in split.test] == ["test"] * len(split.test)


def test_more_folds_than_groups():
    with pytest.raises(DataError, match=r"too few training images for 5 folds.* there are 3; .*--group-column\)"):
        stratified_folds(make_dataset(single(3) + [(0, "train", "train0")] * 4), 5, 0)


@given(rows, configs)
def test_same_seed_same_split(some, config):
    dataset = make_dataset(some + enough)

    first, second = stratified_split(dataset, config), stratified_split(dataset, config)

    assert all(np.array_equal(getattr(first, part), getattr(second, part)) for part in ("train", "validation", "test"))


def test_other_seeds_give_other_splits():
    dataset = make_dataset(single(40, 40, 40, 40, 40))
    for folds in (None, 5):
        splits = (stratified_split(dataset, SplitConfig(seed=seed, folds=folds)) for seed in range(10))

        assert len({tuple(split.validation) for split in splits}) == 10


def test_idrid_counts():
    dataset = make_dataset(single(134, 20, 136, 74, 49) + single(34, 5, 32, 19, 13, origin="test"))
    split = stratified_split(dataset, SplitConfig())

    assert (len(split.train), len(split.validation), len(split.test)) == (330, 83, 103)
    assert np.bincount(dataset.labels()[split.validation]).tolist() == [27, 4, 27, 15, 10]


def test_a_grade_of_one_image_is_trained_on():
    split = stratified_split(make_dataset(single(10, 1)), SplitConfig())

    assert 10 in split.train


def pairs_with_a_rare_grade(pairs, rare):
    """Return rows of pairs of eyes, whose rare grade 4 is never the most frequent one of a pair."""
    return [(grade, "train", f"pair{pair}") for pair in range(pairs) for grade in (0, 4 if pair < rare else 1)]


@given(st.integers(2, 6), configs)
def test_a_rare_grade_of_pairs_of_eyes_is_in_both_parts(rare, config):
    dataset = make_dataset(pairs_with_a_rare_grade(30, rare))
    split = stratified_split(dataset, config)
    labels = dataset.labels()

    assert set(labels[split.train]) == set(labels[split.validation]) == {0, 1, 4}


@given(configs)
def test_a_grade_of_one_pair_of_eyes_is_trained_on(config):
    dataset = make_dataset(pairs_with_a_rare_grade(30, 1))

    assert 4 in dataset.labels()[stratified_split(dataset, config).train]


@given(rows, configs)
def test_no_grade_is_in_validation_alone(some, config):
    dataset = make_dataset(some + enough)
    split = stratified_split(dataset, config)
    labels = dataset.labels()

    assert set(labels[split.validation]) <= set(labels[split.train])


@pytest.mark.parametrize("some", [[], single(1, 1, 1), [(0, "train", "same")] * 5, single(5, origin="test")])
def test_too_few_images(some):
    with pytest.raises(DataError, match=r"too few training images.* \(duplicates, or equal in --group-column\) stay"):
        stratified_split(make_dataset(some), SplitConfig())
