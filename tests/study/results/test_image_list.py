"""How a data set differs from that of a study, image by image."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.data.dataset import LabeledImage
from study.results.image_list import FILE, changed_images, changed_order, write_image_list


def images(grades):
    return [LabeledImage(name, Path("x.png"), grade, "train", name) for name, grade in grades.items()]


@pytest.fixture
def listed(tmp_path):
    write_image_list(tmp_path, images({"train/a": 0, "train/b": 1, "train/=c": 2, 'train/d,"é"': 3}))
    return tmp_path


@pytest.mark.parametrize(
    ("grades", "said"),
    [
        (
            {"train/a": 0, "train/b": 4, "train/=c": 2, 'train/d,"é"': 3},
            "1 label differs: train/b (class 1 there, 4 here)",
        ),
        (
            {"train/a": 0, "train/=c": 2, 'train/d,"é"': 3, "train/e": 1},
            "1 image is new: train/e; 1 image is gone: train/b",
        ),
        ({"train/a": 1, "train/b": 2, "train/=c": 2, 'train/d,"é"': 3}, "2 labels differ: train/a (class 0 there, 1"),
        ({f"train/{n}": 0 for n in range(9)}, "9 images are new: train/0, train/1, train/2 and 6 more; 4 images are"),
        (
            {"train/a": 0, "train/b": 1, "train/=c": 2, 'train/d,"é"': 3},
            "names and labels are the same, but not the contents of the files",
        ),
    ],
)
def test_labels_that_differ_and_images_that_came_and_went_are_named(listed, grades, said):
    assert changed_images(listed, images(grades)).startswith(said)


def test_the_list_is_written_once(listed):
    before = (listed / FILE).read_bytes()
    write_image_list(listed, images({"other": 1}))
    assert (listed / FILE).read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"name,grade\na,1\n", b"id,grade,origin\na,1\n"])
def test_without_a_list_that_can_be_read_nothing_is_said(tmp_path, content):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert changed_images(tmp_path, images({"a": 1})) == ""


def test_the_first_image_at_another_position_is_named(listed):
    same, other = ["train/a", "train/b", "train/=c", 'train/d,"é"'], ["train/a", "train/=c", "train/b", 'train/d,"é"']
    assert changed_order(listed, images(dict.fromkeys(same, 0))) == ""
    assert changed_order(listed, images(dict.fromkeys(other, 0))) == "number 2 is train/b there, train/=c here"


@pytest.mark.parametrize("content", [None, b"", b"id,grade,origin\nb,1,train\nc,1,train\n"])
def test_without_a_list_of_the_same_images_no_order_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert changed_order(tmp_path, images({"a": 1, "b": 1})) == ""


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), st.integers(0, 4)))
def test_every_name_is_found_again(tmp_path_factory, grades):
    folder = tmp_path_factory.mktemp("list")
    write_image_list(folder, images(grades))
    assert changed_images(folder, images(grades)).startswith("names and labels are the same")
    assert changed_order(folder, images(grades)) == ""
