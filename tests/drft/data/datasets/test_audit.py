"""Unreadable files and duplicates."""

import shutil

import pytest
from PIL import Image

from drft.config.trial_config import SplitConfig
from drft.data import open_dataset, stratified_split
from drft.data.datasets.audit import checked_digest
from drft.errors import DataError


@pytest.fixture
def dataset_from(tmp_path, draw_image):
    """Open a table of (name, grade, origin, file seed, patient)."""

    def make(*rows):
        lines = ["image,level,split,patient"]
        for name, grade, origin, seed, patient in rows:
            draw_image(tmp_path / "images" / f"{name}.jpg", seed)
            lines.append(f"{name},{grade},{origin},{patient}")
        (tmp_path / "labels.csv").write_text("\n".join(lines))
        return open_dataset(str(tmp_path / "labels.csv"))

    return make


def test_same_bytes_share_a_group_and_conflicts_are_noted(dataset_from):
    dataset = dataset_from(("a", 1, "train", 5, ""), ("b", 2, "train", 5, ""), ("c", 1, "train", 6, ""))

    a, b, c = dataset.images
    assert a.group == b.group != c.group
    assert "train/a (mild) and train/b (moderate) are the same file with different labels." in dataset.notes


def test_same_bytes_join_patients(dataset_from):
    dataset = dataset_from(
        ("a", 1, "train", 1, "p"), ("b", 1, "train", 2, "p"), ("c", 1, "train", 2, "q"), ("d", 1, "train", 4, "q")
    )

    assert len({image.group for image in dataset.images}) == 1


def test_a_duplicate_of_a_test_image_is_in_no_part(dataset_from):
    dataset = dataset_from(
        ("a", 1, "train", 1, ""), ("b", 1, "test", 1, ""), ("c", 1, "train", 2, ""), ("d", 1, "train", 3, "")
    )

    split = stratified_split(dataset, SplitConfig())

    assert sorted([*split.train, *split.validation]) == [2, 3]
    assert list(split.test) == [1]
    assert any("the training one is left out" in note for note in dataset.notes)


def test_the_fingerprint_depends_on_contents_and_grades_and_not_on_folders(dataset_from, tmp_path, tmp_path_factory):
    rows = [("a", 1, "train", 1, ""), ("b", 2, "train", 2, "")]
    first = dataset_from(*rows).fingerprint
    moved = tmp_path_factory.mktemp("moved")
    shutil.move(tmp_path / "images", moved / "images")
    shutil.move(tmp_path / "labels.csv", moved / "labels.csv")

    assert open_dataset(str(moved)).fingerprint == first
    assert dataset_from(("a", 1, "train", 9, ""), rows[1]).fingerprint != first
    assert dataset_from(("a", 3, "train", 1, ""), rows[1]).fingerprint != first


def test_all_faulty_files_are_reported(dataset_from, tmp_path, draw_image):
    names = ("cut", "empty", "text", "fine")
    dataset_from(*((name, 1, "train", seed, "") for seed, name in enumerate(names)))
    images = tmp_path / "images"
    (images / "cut.jpg").write_bytes((images / "cut.jpg").read_bytes()[:-200])
    (images / "empty.jpg").write_bytes(b"")
    (images / "text.jpg").write_text("no image")

    with pytest.raises(DataError) as raised:
        open_dataset(str(tmp_path / "labels.csv"))

    cut, empty, text = raised.value.faults
    assert "cut.jpg is cut off" in cut
    assert "empty.jpg is empty" in empty
    assert "text.jpg is no image file" in text


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_off_files_are_errors(tmp_path, share, suffix):
    path = tmp_path / f"image{suffix}"
    Image.effect_noise((200, 200), 60).convert("RGB").save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(DataError):
        checked_digest(path)


def test_bytes_after_the_end_of_a_jpeg_are_harmless(draw_image, tmp_path):
    path = draw_image(tmp_path / "image.jpg")
    path.write_bytes(path.read_bytes() + b"\0" * 512 + b"written by a camera")

    assert len(checked_digest(path)) == 64


def test_a_thumbnail_does_not_hide_a_cut(tmp_path):
    path = tmp_path / "image.jpg"
    thumbnail = tmp_path / "thumbnail.jpg"
    Image.effect_noise((32, 32), 60).save(thumbnail)
    Image.effect_noise((200, 200), 60).save(path, comment=thumbnail.read_bytes())
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match="cut off"):
        checked_digest(path)
