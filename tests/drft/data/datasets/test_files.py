"""Folders that others made: links, pipes and devices in them end no command and never run in circles."""

import errno
import os
import threading

import pytest

from drft.data import open_dataset
from drft.data.checks import check_source
from drft.data.datasets.files import ImageFiles, files_below
from drft.errors import DataError


@pytest.fixture
def classes(tmp_path, draw_image):
    """A folder of two classes of 4 images each."""
    for number in range(8):
        draw_image(tmp_path / "data" / str(number % 2) / f"{number}.png", number)
    return tmp_path / "data"


def names(folder):
    return [file.relative_to(folder).as_posix() for file in files_below(folder)]


ALL = [f"{number % 2}/{number}.png" for number in (0, 2, 4, 6, 1, 3, 5, 7)]


@pytest.mark.parametrize("target", [".", "..", "0", "../data/0", "/", "again", "nowhere"])
@pytest.mark.parametrize("place", ["again", "0/again", "0/.again"])
def test_links_to_folders_add_no_image(classes, target, place):
    (classes / place).symlink_to(target)

    assert names(classes) == ALL
    assert len(open_dataset(str(classes))) == 8
    assert check_source(str(classes)).named == 8


def test_folders_that_link_to_each_other_end(classes):
    (classes / "0" / "other").symlink_to(classes / "1")
    (classes / "1" / "other").symlink_to(classes / "0")

    assert names(classes) == ALL


def test_links_to_folders_elsewhere_are_named(classes, tmp_path, draw_image):
    draw_image(tmp_path / "outside" / "9.png")
    (classes / "2").symlink_to(tmp_path / "outside")

    dataset = open_dataset(str(classes))

    assert dataset.grades == ("0", "1")
    assert f"1 links in data lead to folders elsewhere and are not followed ({classes / '2'})" in " ".join(
        dataset.notes
    )
    assert any("are not followed" in finding.text for finding in check_source(str(classes)).findings)


def test_a_test_part_that_is_a_link_elsewhere_is_named(tmp_path, classes):
    (tmp_path / "parts").mkdir()
    classes.rename(tmp_path / "parts" / "train")
    (tmp_path / "outside" / "0").mkdir(parents=True)
    (tmp_path / "parts" / "test").symlink_to(tmp_path / "outside")

    assert "parts/test): put these folders there" in " ".join(open_dataset(str(tmp_path / "parts")).notes)


def test_images_that_only_a_link_leads_to_are_missing_and_the_link_is_named(tmp_path, draw_image):
    draw_image(tmp_path / "outside" / "a.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(tmp_path / "outside")
    (tmp_path / "data" / "labels.csv").write_text("image,grade\na,1\n")

    with pytest.raises(DataError, match=r"no image 'a' in .*the link .*images leads elsewhere.*: add the file"):
        open_dataset(str(tmp_path / "data"))
    (tmp_path / "data" / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"holds neither .*the link .*images leads elsewhere"):
        open_dataset(str(tmp_path / "data"))


def test_a_folder_that_is_itself_a_link_and_links_to_files_are_followed(tmp_path, classes):
    (tmp_path / "link").symlink_to(classes)
    (classes / "0" / "0.png").rename(tmp_path / "8.png")
    (classes / "1" / "8.png").symlink_to(tmp_path / "8.png")

    assert len(ImageFiles.of(tmp_path / "link").files) == 8


@pytest.fixture
def lock(monkeypatch):
    """Make a folder unreadable; its permissions would not stop root."""

    def make(folder):
        scandir = os.scandir

        def refuse(path="."):
            if str(path) == str(folder):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)

    return make


@pytest.mark.parametrize("read", [open_dataset, check_source])
def test_a_folder_that_cannot_be_read_is_named(classes, lock, read):
    lock(classes / "1")

    with pytest.raises(
        DataError, match=r"folder .*data/1 cannot be read \(Permission denied\): correct its permissions"
    ):
        read(str(classes))


def test_the_folder_of_lost_files_of_a_disk_is_not_read(classes, lock):
    (classes / "lost+found").mkdir()
    lock(classes / "lost+found")

    assert names(classes) == ALL


def test_an_unreadable_folder_around_idrid_is_not_its_fault(official_copy, lock):
    root = official_copy([0, 2], [1])
    (root / "B. Disease Grading" / "private").mkdir()
    lock(root / "B. Disease Grading" / "private")

    table = root / "B. Disease Grading" / "2. Groundtruths" / "a. IDRiD_Disease Grading_Training Labels.csv"
    assert len(open_dataset(str(table))) == 3


def test_pipes_with_the_names_of_tables_are_not_read(classes):
    for name in ("labels.csv", "train.csv", "train.txt", "trainLabels.csv", "retinamnist.npz", "idrid_labels.csv"):
        os.mkfifo(classes / name)
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_dataset(str(classes))), daemon=True)
    thread.start()
    thread.join(60)

    assert len(opened[0]) == 8


SPECIAL = {
    "a named pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "cannot be read": lambda path: path.symlink_to("nowhere"),
    "cannot be read (Too many levels": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("what", SPECIAL)
def test_special_files_are_named_and_the_others_checked(classes, what):
    SPECIAL[what](classes / "1" / "8.png")

    with pytest.raises(DataError) as raised:
        open_dataset(str(classes))
    check = check_source(str(classes))

    (fault,) = raised.value.faults
    assert fault.startswith(f"{classes / '1' / '8.png'} ")
    assert what in fault
    assert [finding.ids for finding in check.defects if finding.kind == "unreadable file"] == [("train/1/8",)]
    assert len(check.files) == 8


@pytest.mark.parametrize("folder", ["@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", ".thumbnails"])
def test_folders_of_systems_hold_no_images(classes, draw_image, folder):
    draw_image(classes / "0" / folder / "copy.png", 9)
    draw_image(classes / folder / "copy.png", 9)
    assert names(classes) == ALL


@pytest.mark.parametrize(
    ("file", "written"),
    [("e\u0301il.png", "\u00e9il"), ("\u00e9il.png", "e\u0301il.png"), ("Eye.PNG", "eye.png"), ("eye.png", "EYE")],
)
def test_names_are_found_in_other_unicode_forms_and_letter_case(tmp_path, draw_image, file, written):
    draw_image(tmp_path / file, 0)
    assert ImageFiles.of(tmp_path).find(written).name == file


def test_a_name_in_its_own_letter_case_is_preferred(tmp_path, draw_image):
    for name in ("eye.png", "EYE.png"):
        draw_image(tmp_path / name, 0)
    images = ImageFiles.of(tmp_path)
    assert [images.find(name).name for name in ("eye", "EYE")] == ["eye.png", "EYE.png"]
    with pytest.raises(DataError, match="is ambiguous"):
        images.find("Eye")


@pytest.mark.parametrize("place", [b"0/\xe9il.png", b"\xe9/1.png", b"0/\xff.csv"])
def test_names_that_are_not_utf8_are_one_line(classes, place):
    path = classes / os.fsdecode(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    for read in (open_dataset, check_source):
        with pytest.raises(DataError, match=r"1 names are not UTF-8, such as \\x[ef][9f].*: rename them"):
            read(str(classes))
