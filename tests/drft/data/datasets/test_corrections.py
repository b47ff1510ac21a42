"""Files that exclude images and change grades."""

import hashlib

import pytest

from drft.data import Correction, open_dataset
from drft.data.checks import check_source
from drft.data.datasets.corrections import correct_dataset
from drft.errors import DataError

DECIDED = """id,grade,proposed,agree,trials,decision
train/a,0,1,5,6,exclude
train/b,1,2,6,6,relabel
train/c,2,3,4,6,keep
train/d,3,4,4,6,
"""


@pytest.fixture
def source(tmp_path, draw_image):
    """A label table with four images to train on and one to test with."""
    names = ["a", "b", "c", "d", "t"]
    for seed, name in enumerate(names):
        draw_image(tmp_path / "images" / f"{name}.png", seed)
    rows = [f"{name},{grade},{'test' if name == 't' else 'train'}" for grade, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,level,split", *rows, ""]))
    return str(tmp_path / "labels.csv")


@pytest.fixture
def write(tmp_path):
    """Write a file of corrections beside the images."""

    def write(text: str, name: str = "corrections.csv") -> str:
        path = tmp_path / "corrections" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def grades(dataset):
    return {image.id: image.grade for image in dataset.images}


def test_images_are_left_out_and_relabelled(source, write):
    plain = open_dataset(source)
    excluded, relabelled = write("id\ntrain/a\n", "out.csv"), write("id;grade\r\ntrain/b;4\r\n", "new.csv")
    dataset = open_dataset(source, options={"exclude": excluded, "relabel": relabelled})

    assert grades(dataset) == {"train/b": 4, "train/c": 2, "train/d": 3, "test/t": 4}
    assert dataset.fingerprint != plain.fingerprint
    assert dataset.corrections == (
        Correction("exclude", "out.csv", hashlib.sha256(b"id\ntrain/a\n").hexdigest(), 1),
        Correction("relabel", "new.csv", hashlib.sha256(b"id;grade\r\ntrain/b;4\r\n").hexdigest(), 1),
    )
    assert "1 training image is left out as listed in out.csv (--exclude)." in dataset.notes
    assert "1 training image is relabelled as listed in new.csv (--relabel)." in dataset.notes
    assert not any("no line in the label table" in note for note in dataset.notes)


def test_one_file_of_decisions_excludes_and_relabels(source, write):
    decided = write(DECIDED)
    dataset = open_dataset(source, options={"exclude": decided, "relabel": decided})

    assert grades(dataset) == {"train/b": 2, "train/c": 2, "train/d": 3, "test/t": 4}
    assert [correction.images for correction in dataset.corrections] == [1, 1]
    assert not any("to count" in note for note in dataset.notes)


def test_decisions_without_their_option_are_noted(source, write):
    notes = open_dataset(source, options={"exclude": write(DECIDED)}).notes

    assert "The decision relabel in 1 line of corrections.csv counts only with --relabel." in notes


def test_a_file_without_decisions_changes_nothing(source, write):
    undecided = write("id,grade,proposed,decision\ntrain/a,0,1,\n")

    assert open_dataset(source, options={"relabel": undecided}).fingerprint == open_dataset(source).fingerprint


def test_a_data_set_without_a_table_is_corrected_in_the_same_way(source, write):
    plain = open_dataset(source)
    options = {"exclude": write("id\ntrain/a\n", "out.csv"), "relabel": write("id,label\ntrain/b,4\n", "new.csv")}

    assert correct_dataset(plain, {}) is plain
    assert correct_dataset(plain, options).images == open_dataset(source, options=options).images
    assert correct_dataset(plain, options).fingerprint == open_dataset(source, options=options).fingerprint


def test_every_fault_is_named_at_once(source, write):
    excluded = write("id\ntrain/a\ntrain/x\nb\ntrain/a\n", "out.csv")
    relabelled = write("id,grade\ntrain/a,1\ntrain/c,7\ntest/t,0\n", "new.csv")

    with pytest.raises(DataError) as raised:
        open_dataset(source, options={"exclude": excluded, "relabel": relabelled})
    faults = "\n".join(raised.value.faults)
    assert len(raised.value.faults) == 6
    assert "out.csv, line 3: no image 'train/x' in the data source: correct" in faults
    assert "out.csv, line 4: no image 'b' in the data source (did you mean 'train/b'?)" in faults
    assert "out.csv, line 5: train/a is named before, in out.csv, line 2" in faults
    assert "new.csv, line 2: train/a is both excluded and relabelled" in faults
    assert "new.csv, line 3: grade '7' should be a whole number from 0 to 4" in faults
    assert "new.csv, line 4: test/t is a test image, and the test part stays as published" in faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image,grade\na,1\n", "has no column 'id' that names images; its columns are 'image', 'grade'"),
        ("id\ntrain/a\n", "has no column 'label' with the new labels"),
        ("id,grade,label\ntrain/a,1,1\n", "has columns 'label' and 'grade': keep one of them"),
        ("id,decision\ntrain/a,relabel\n", "has no column 'proposed' with the new labels"),
        ("id,proposed,decision\ntrain/a,1,drop\n", "line 2: decision 'drop' should be keep, exclude or relabel"),
        ("", "is empty"),
    ],
)
def test_unusable_files(source, write, text, fault):
    with pytest.raises(DataError, match=fault):
        open_dataset(source, options={"relabel": write(text)})


def test_rows_between_stray_quotation_marks_are_named(source, write):
    path = write('id,label,note\ntrain/a,1,"dark\ntrain/b,2,"\ntrain/c,3,\n')

    with pytest.raises(DataError, match=r"line 2: it has quotation marks around other rows, such as that of 'train/b'"):
        open_dataset(source, options={"relabel": path})


def test_a_missing_file(source, tmp_path):
    with pytest.raises(DataError, match=r"none.csv cannot be read \(No such file"):
        open_dataset(source, options={"exclude": str(tmp_path / "none.csv")})


def test_a_check_applies_the_corrections(source, write):
    decided = write(DECIDED)

    assert check_source(source, options={"exclude": decided, "relabel": decided}).counts["train"] == (0, 0, 2, 1, 0)
