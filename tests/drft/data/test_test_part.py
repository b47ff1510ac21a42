"""A test part is held out of a source that publishes none."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import ImageEnhance

from drft.config.trial_config import SplitConfig
from drft.data import open_dataset, stratified_split
from drft.data.checks import check_source
from drft.data.dataset import LabeledImage, TestPart
from drft.data.test_part import hold_out
from drft.errors import DataError
from tests.helpers.fundus_like import fundus_like


def images(count=60, per_group=2, classes=3):
    """Images in groups of one class."""
    return [
        LabeledImage(
            f"train/{number}", Path(f"{number}.png"), number // per_group % classes, "train", f"p{number // per_group}"
        )
        for number in range(count)
    ]


def held(images_):
    return {image.id for image in images_ if image.origin == "test"}


def test_it_is_stratified_and_keeps_groups_whole():
    parts = hold_out(images(), TestPart(0.2))
    held_out = [image for image in parts if image.origin == "test"]
    assert Counter(image.grade for image in held_out) == {0: 4, 1: 4, 2: 4}
    assert not {image.group for image in held_out} & {image.group for image in parts if image.origin == "train"}
    assert all(image.id.startswith("test/") for image in held_out)


def test_it_depends_on_the_seed_and_not_on_the_order_of_the_images():
    listed, reversed_ = images(), images()[::-1]
    assert held(hold_out(listed, TestPart(0.2))) == held(hold_out(reversed_, TestPart(0.2)))
    assert held(hold_out(listed, TestPart(0.2))) != held(hold_out(listed, TestPart(0.2, seed=1)))


def test_a_rare_class_of_pairs_of_eyes_is_in_both_parts():
    pairs = [
        LabeledImage(f"train/{pair}-{grade}", Path(f"{pair}-{grade}.png"), grade, "train", f"p{pair}")
        for pair in range(30)
        for grade in (0, 2 if pair < 3 else 1)
    ]
    for seed in range(20):
        part = TestPart(0.2, seed)
        parts = hold_out(pairs, part)
        assert {(image.grade, image.origin) for image in parts} == {
            (grade, origin) for grade in range(3) for origin in ("train", "test")
        }
        assert held(parts) == held(hold_out(pairs[::-1], part))


def test_a_published_test_part_and_too_few_images_are_refused():
    with pytest.raises(DataError, match="has a published test part of 12 images: leave the option out"):
        hold_out(hold_out(images(), TestPart(0.2)), TestPart(0.2))
    with pytest.raises(DataError, match=r"too few images for a test part.* in --group-column\) stay"):
        hold_out(images(4, per_group=4), TestPart(0.5))


@pytest.fixture
def source(tmp_path, draw_image):
    """A table of 24 images of two classes, the last two files equal."""
    for number in range(24):
        draw_image(tmp_path / f"p{number}.png", min(number, 22))
    rows = [f"p{number},{'ab'[number % 2]}" for number in range(22)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows, "p22,a", "p23,a", ""]))
    return str(tmp_path / "labels.csv")


def test_a_data_set_opens_with_a_test_part_and_without_leaks(source):
    for seed in range(6):
        options = {"test_fraction": "0.25", "test_seed": str(seed)}
        dataset = open_dataset(source, options=options)
        assert dataset.test_part == TestPart(0.25, seed)
        origins = {image.path.stem: image.origin for image in dataset.images}
        assert origins["p22"] == origins["p23"]  # the same file twice is one group
        assert 5 <= sum(dataset.counts("test")) <= 7
        split = stratified_split(dataset, SplitConfig())
        assert len(split.train) + len(split.validation) + len(split.test) == 24
    assert any("25% of its images are held out as a test part" in note for note in dataset.notes)


def test_corrections_do_not_change_the_test_part_and_may_not_touch_it(source, tmp_path):
    options = {"test_fraction": "0.25"}
    plain = open_dataset(source, options=options)
    train = [image.id for image in plain.images if image.origin == "train"]
    (tmp_path / "corrections").mkdir()
    out, new = tmp_path / "corrections" / "out.csv", tmp_path / "corrections" / "new.csv"
    out.write_text("\n".join(["id", *train[:5]]))
    new.write_text("\n".join(["id,grade", *(f"{name},b" for name in train[5:9])]))
    corrected = open_dataset(source, options={**options, "exclude": str(out), "relabel": str(new)})
    assert held(corrected.images) == held(plain.images)
    assert len(corrected) == len(plain) - 5

    out.write_text("id\n" + min(held(plain.images)).replace("test/", "train/") + "\n")
    with pytest.raises(DataError, match="is a test image of --test-fraction, and the test part stays as it is"):
        open_dataset(source, options={**options, "exclude": str(out)})


def test_excluding_a_near_duplicate_does_not_change_the_test_part(tmp_path):
    for number in range(12):
        image = fundus_like(number)
        image.save(tmp_path / f"p{number}.png")
        if number < 4:  # each of these images is there twice, once darkened
            ImageEnhance.Brightness(image).enhance(0.8).save(tmp_path / f"p{number}dark.png")
    names = [f"p{number}" for number in range(12)] + [f"p{number}dark" for number in range(4)]
    table, out = tmp_path / "labels.csv", tmp_path / "out" / "out.csv"
    table.write_text("\n".join(["image,label", *(f"{name},{'ab'[int(name[1:2]) % 2]}" for name in names), ""]))
    out.parent.mkdir()
    for seed in range(20):
        options = {"test_fraction": "0.25", "test_seed": str(seed), "group_lookalikes": "yes"}
        plain = held(open_dataset(str(table), options=options).images)
        out.write_text(
            "\n".join(["id", *(f"train/p{number}dark" for number in range(4) if f"test/p{number}" not in plain)])
        )
        assert held(open_dataset(str(table), options={**options, "exclude": str(out)}).images) == plain


def test_a_check_counts_the_test_part(source):
    check = check_source(source, options={"test_fraction": "0.25"})
    assert check.planned.test == open_dataset(source, options={"test_fraction": "0.25"}).counts("test")
    assert not any(finding.kind == "no test part" for finding in check.findings)


def test_the_rendered_images_have_a_test_part():
    with pytest.raises(DataError, match="rendered images have a test part: leave the option out"):
        open_dataset("synthetic", options={"test_fraction": "0.2"})


@pytest.mark.parametrize("fraction", ["0", "1", "x", "-0.1", "nan"])
def test_a_share_outside_0_to_1_is_refused(source, fraction):
    with pytest.raises(DataError, match="--test-fraction should be above 0 and below 1"):
        open_dataset(source, options={"test_fraction": fraction})
