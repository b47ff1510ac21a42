"""The check of a data source finds each kind of defect."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from drft.data.checks import SourceCheck, check_source
from drft.errors import DataError
from tests.helpers.fundus_like import fundus_like

Turn = Image.Transpose
Make = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Make:
    """Write images by name, and a table of (name, grade, more cells)."""

    def make(rows: list[tuple[object, ...]], images: Mapping[str, Image.Image], header: str = "image,level") -> Path:
        for name, image in images.items():
            image.save(tmp_path / f"{name}.png")
        lines = [header, *(",".join(map(str, row)) for row in rows)]
        (tmp_path / "labels.csv").write_text("\n".join(lines))
        return tmp_path / "labels.csv"

    return make


def plain(count: int, first: int = 100) -> dict[str, Image.Image]:
    """Images without defects."""
    return {f"plain{number}": fundus_like(first + number) for number in range(count)}


def graded(images: Mapping[str, Image.Image], *, kinds: int = 2) -> list[tuple[object, ...]]:
    return [(name, number % kinds) for number, name in enumerate(images)]


def ids_of(check: SourceCheck, kind: str) -> list[tuple[str, ...]]:
    return [finding.ids for finding in check.findings if finding.kind == kind]


def test_a_source_without_faults_has_no_defects(table):
    images = plain(12)
    check = check_source(str(table(graded(images), images)))

    assert check.defects == ()
    assert check.duplicates == ()
    assert check.counts == {"train": (6, 6, 0, 0, 0), "test": (0, 0, 0, 0, 0)}
    assert check.sizes == {"300 x 200": 12}
    assert sum(check.planned.train) + sum(check.planned.validation) == 12


def test_every_faulty_file_and_line_is_a_finding_and_the_others_are_checked(table, tmp_path):
    images = plain(8)
    rows = [
        *graded(images),
        *(
            ("gone", 1),
            ("cut", 1),
            ("text", 0),
            ("../secret", 1),
            ("plain0", 1),
            ("wrong", 9),
            ("black", 0),
            ("grey", 0),
        ),
    ]
    more = {"cut": fundus_like(1), "wrong": fundus_like(2), "black": Image.new("RGB", (300, 200), (3, 2, 2))}
    source = table(rows, images | more | {"grey": Image.new("RGB", (300, 200), (90, 90, 90))})
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no image")
    fundus_like(3).save(tmp_path / "spare.png")

    check = check_source(str(source))

    assert ids_of(check, "missing file") == [("train/gone",)]
    assert ids_of(check, "truncated file") == [("train/cut",)]
    assert ids_of(check, "unreadable file") == [("train/text",)]
    assert ids_of(check, "name leads out") == [("train/../secret",)]
    assert ids_of(check, "near-black file") == [("train/black",)]
    assert ids_of(check, "blank file") == [("train/grey",)]
    assert ids_of(check, "bad label") == [("train/wrong",)]
    assert len(ids_of(check, "repeated line")) == 1
    assert len(ids_of(check, "unlisted files")) == 1
    assert len(check.images) == 10
    assert check.duplicates == ()


def test_unusual_sizes_are_findings(table):
    images = plain(12) | {"other": fundus_like(1, (240, 160)), "tiny": fundus_like(2, (60, 40))}

    check = check_source(str(table(graded(images), images)))
    assert ids_of(check, "wrong size") == [("train/tiny",)]

    images |= plain(8, 200) | {f"more{number}": fundus_like(300 + number) for number in range(10)}
    check = check_source(str(table(graded(images), images)))
    assert ids_of(check, "wrong size") == [("train/tiny",), ("train/other",)]


COPIES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "encoded again or resized": lambda image: image.resize((150, 100)),
    "mirrored left to right": lambda image: image.transpose(Turn.FLIP_LEFT_RIGHT),
    "mirrored top to bottom": lambda image: image.transpose(Turn.FLIP_TOP_BOTTOM),
    "rotated by 180°": lambda image: image.transpose(Turn.ROTATE_180),
    "rotated by 90°": lambda image: image.transpose(Turn.ROTATE_90),
    "rotated by 270°": lambda image: image.transpose(Turn.ROTATE_270),
    "mirrored along the main diagonal": lambda image: image.transpose(Turn.TRANSPOSE),
    "mirrored along the other diagonal": lambda image: image.transpose(Turn.TRANSVERSE),
}


@pytest.mark.parametrize("how", COPIES)
def test_the_same_image_in_another_file_is_found(table, how):
    images = plain(10) | {"copy": ImageEnhance.Brightness(COPIES[how](fundus_like(103))).enhance(0.85)}

    check = check_source(str(table(graded(images), images)))

    (pair,) = check.duplicates
    assert (pair.first, pair.second, pair.how) == ("train/plain3", "train/copy", how)
    assert 0.88 < pair.correlation < 1.001
    assert not pair.together
    assert len(check.defects) == 1


def test_copies_as_jpeg_or_of_other_proportions_are_found(table, tmp_path):
    fundus_like(103).save(tmp_path / "jpeg.jpg", quality=40)
    images = plain(10) | {"squeezed": fundus_like(104, (224, 224))}

    check = check_source(str(table([*graded(images), ("jpeg", 1)], images)))

    assert {(pair.first, pair.second) for pair in check.duplicates} == {
        ("train/plain3", "train/jpeg"),
        ("train/plain4", "train/squeezed"),
    }


def test_duplicates_with_conflicts_and_across_parts(table):
    images = plain(10) | {name: fundus_like(50 + number) for number, name in enumerate("aabbcc") for _ in "x"}
    rows = [(name, number % 2, 7, "train", name) for number, name in enumerate(plain(10))]
    for name in ("a", "b", "c"):
        images[f"{name}2"] = images[name]
    rows += [("a", 1, 7, "train", "p"), ("a2", 1, 8, "train", "q")]  # harmless, though another column differs
    rows += [("b", 1, 7, "train", "r"), ("b2", 2, 7, "train", "s")]
    rows += [("c", 3, 7, "train", "t"), ("c2", 3, 7, "test", "u")]

    check = check_source(str(table(rows, images, "image,level,oedema,split,patient")))

    assert ids_of(check, "same file") == [("train/a", "train/a2")]
    assert ids_of(check, "conflicting labels") == [("train/b", "train/b2")]
    assert ids_of(check, "leak into test") == [("train/c", "test/c2")]
    assert len(check.defects) == 2
    assert [pair.differing for pair in check.duplicates] == [("oedema",), (), ()]
    assert check.planned.test == (0, 0, 0, 1, 0)
    assert check.images[10].group == check.images[11].group


def test_a_leak_through_a_copy_of_a_copy_is_found(table):
    images = plain(10) | {"twice": fundus_like(50), "held_out": fundus_like(50), "turned": fundus_like(50).rotate(180)}
    rows = [(name, number % 2, "test" if name == "held_out" else "train") for number, name in enumerate(images)]

    check = check_source(str(table(rows, images, "image,level,split")))

    assert ids_of(check, "leak into test") == [("train/twice", "test/held_out"), ("test/held_out", "train/turned")]


@pytest.mark.parametrize(
    ("column", "leaks"),
    [
        (lambda row, grade: ("none", "mild", "severe")[grade], True),
        (lambda row, grade: f"{grade + row / 100:.2f}", True),
        (lambda row, grade: f"patient{row}", False),
        (lambda row, grade: row % 2, False),
        (lambda row, grade: (row * 7919) % 101, False),
    ],
)
def test_a_column_that_reveals_the_grade_is_a_finding(table, column, leaks):
    images = plain(30)
    rows = [(name, row % 3, column(row, row % 3)) for row, name in enumerate(images)]

    check = check_source(str(table(rows, images, "image,level,extra")))

    texts = [finding.text for finding in check.findings if finding.kind == "gives the class away"]
    assert [("'extra'" in text) for text in texts] == ([True] if leaks else [])
    assert not check.defects


def test_an_image_size_that_reveals_the_grade_is_a_finding(table):
    images = {f"p{number}": fundus_like(number, ((300, 200), (240, 160))[number % 2]) for number in range(24)}

    check = check_source(str(table(graded(images), images)))

    assert any("The size of the image reveals the class of 100%" in finding.text for finding in check.findings)


def test_grades_changed_on_kaggle_are_defects_until_they_are_replaced(kaggle_copy):
    root = kaggle_copy({"IDRiD_098": 4, "IDRiD_001": 3, "IDRiD_062test": 2, "IDRiD_002": 4, "IDRiD_003": 4})

    assert ids_of(check_source(str(root)), "changed grade") == [("train/IDRiD_098",), ("test/IDRiD_062",)]
    check = check_source(str(root), options={"labels": "official"})
    assert ids_of(check, "changed grade") == []
    assert any("of the Kaggle table were replaced" in finding.text for finding in check.findings)


def test_the_files_in_a_folder_without_a_table_are_checked(tmp_path):
    for number in range(3):
        fundus_like(number).save(tmp_path / f"{number}.png")
    fundus_like(1).transpose(Turn.ROTATE_90).save(tmp_path / "turned.png")

    check = check_source(str(tmp_path))

    assert (len(check.files), check.images, check.planned) == (4, (), None)
    assert [(pair.first, pair.second) for pair in check.duplicates] == [("1.png", "turned.png")]


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(36, "File name too long")])
def test_a_source_that_cannot_be_looked_at_is_an_error(monkeypatch, tmp_path, error):
    def refuse(path: Path) -> bool:
        raise error

    monkeypatch.setattr(Path, "is_dir", refuse)

    with pytest.raises(DataError, match=f"cannot be opened .*{error.strerror}.*: check the path and its permissions"):
        check_source(str(tmp_path))


def test_a_source_with_a_name_that_is_too_long_is_an_error():
    with pytest.raises(DataError, match=r"check the path|no data source"):
        check_source("x" * 300)


def test_a_missing_or_empty_source_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no data source"):
        check_source(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="neither a known data set nor a label table"):
        check_source(str(tmp_path))


SAME_FILES = {
    ("train/IDRiD_021", "train/IDRiD_391"),
    ("train/IDRiD_028", "train/IDRiD_327"),
    ("train/IDRiD_045", "train/IDRiD_333"),
    ("train/IDRiD_073", "train/IDRiD_375"),
    ("train/IDRiD_079", "train/IDRiD_279"),
    ("train/IDRiD_118", "test/IDRiD_064"),
}


@pytest.mark.real
def test_idrid_has_six_files_twice_and_one_image_in_two_files(real_data):
    check = check_source(str(real_data / "idrid"))

    same = {(pair.first, pair.second) for pair in check.duplicates if pair.how == "the same file"}
    others = {(pair.first, pair.second) for pair in check.duplicates} - same
    assert same == SAME_FILES
    assert others == {("train/IDRiD_013", "train/IDRiD_397")}  # one image, the second one darkened
    assert ids_of(check, "leak into test") == [("train/IDRiD_118", "test/IDRiD_064")]
    assert sum(pair.conflict for pair in check.duplicates if pair.how == "the same file") == 3
    assert sum("Risk of macular edema" in pair.differing for pair in check.duplicates if not pair.conflict) == 1


@pytest.mark.real
def test_the_changed_grades_of_idrid_on_kaggle_are_findings(real_data):
    check = check_source(str(real_data / "idrid-kaggle"))

    assert len(ids_of(check, "changed grade")) == 26  # the 27th image, test 063, is not in this copy
    assert ids_of(check, "leak into test") == [("train/IDRiD_118", "test/IDRiD_064")]


@pytest.mark.real
def test_turned_copies_of_real_images_are_found_and_nothing_else(real_data, tmp_path):
    originals = sorted((real_data / "idrid").rglob("a. Training Set/*.jpg"))[30:60]
    rng = np.random.default_rng(0)
    for number, path in enumerate(originals):
        image = Image.open(path)
        image.save(tmp_path / f"{path.stem}.jpg", quality=90)
        turned = image.transpose(Turn(int(rng.integers(0, 7)))).resize((300 + 10 * number, 280))
        ImageEnhance.Contrast(turned).enhance(rng.uniform(0.8, 1.2)).save(tmp_path / f"{path.stem}x.jpg", quality=60)

    check = check_source(str(tmp_path))

    assert [(pair.first, pair.second) for pair in check.duplicates] == [
        (f"{path.stem}.jpg", f"{path.stem}x.jpg") for path in originals
    ]
