"""IDRiD in its official layout and as on Kaggle."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from drft.config.trial_config import SplitConfig
from drft.data import load_images, open_dataset, stratified_split
from drft.data.datasets.idrid import OFFICIAL_GRADES
from drft.errors import DataError


def test_official_images_of_equal_number_have_different_ids(official_copy):
    dataset = open_dataset(str(official_copy([0, 2, 4], [1, 3])))

    assert dataset.name == "idrid"
    assert [(image.id, image.grade) for image in dataset.images] == [
        ("train/IDRiD_001", 0),
        ("train/IDRiD_002", 2),
        ("train/IDRiD_003", 4),
        ("test/IDRiD_001", 1),
        ("test/IDRiD_002", 3),
    ]
    assert dataset.notes == ()


@pytest.mark.parametrize(
    "piece",
    [
        "..",
        ".",
        "B. Disease Grading",
        "B. Disease Grading/1. Original Images",
        "B. Disease Grading/1. Original Images/a. Training Set",
        "B. Disease Grading/2. Groundtruths",
        "B. Disease Grading/2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv",
    ],
)
def test_official_layout_is_found_from_any_of_its_folders(official_copy, piece):
    root = official_copy([0, 2], [1])

    assert len(open_dataset(str(root / piece))) == 3


def test_official_layout_may_be_nested_and_url_encoded(official_copy):
    root = official_copy([0, 2], [1], inside="B.%20Disease%20Grading")
    section = root / "B.%20Disease%20Grading" / "B. Disease Grading"
    (section / "1. Original Images").rename(section / "1.%20Original%20Images")

    assert len(open_dataset(str(root))) == 3


def test_folders_of_other_challenges_are_not_used(official_copy, draw_image):
    root = official_copy([0, 2], [1])
    draw_image(root / "A. Segmentation" / "1. Original Images" / "a. Training Set" / "IDRiD_01.jpg", 99)

    assert {image.path.stem for image in open_dataset(str(root)).images} == {"IDRiD_001", "IDRiD_002"}


def test_without_testing_labels_there_is_no_test_part(official_copy):
    root = official_copy([0, 2], [1])
    next(root.rglob("*Testing Labels.csv")).unlink()

    dataset = open_dataset(str(root))

    assert dataset.counts("test") == (0, 0, 0, 0, 0)
    assert any("official test images are not used" in note for note in dataset.notes)


def test_missing_image_folders_are_reported(official_copy):
    root = official_copy([0], [1])
    shutil.rmtree(root / "B. Disease Grading" / "1. Original Images")

    with pytest.raises(DataError, match=r"Training Set.*keep the folders") as raised:
        open_dataset(str(root))
    assert len(raised.value.faults) == 2


def test_faults_of_both_tables_are_reported_together(official_copy):
    root = official_copy([0, 7, 2], ["", 1])
    next(root.rglob("a. Training Set/IDRiD_003.jpg")).unlink()

    with pytest.raises(DataError) as raised:
        open_dataset(str(root))

    first, second, third = raised.value.faults
    assert "Training Labels.csv, line 3" in first
    assert "grade '7' should be a whole number from 0 to 4" in first
    assert "line 4" in second
    assert "no image 'IDRiD_003'" in second
    assert "Testing Labels.csv, line 2" in third


def test_a_renamed_column_can_be_named(kaggle_copy):
    root = kaggle_copy({"IDRiD_001": 3})
    table = root / "idrid_labels.csv"
    table.write_text(table.read_text().replace("diagnosis", "stage"))

    with pytest.raises(DataError, match=r"no column that names the label.*--label-column"):
        open_dataset(str(root))
    for source in (root, table):
        assert open_dataset(str(source), options={"grade_column": "stage"}).name == "idrid-kaggle"


def test_two_copies_are_an_error(official_copy, kaggle_copy):
    official_copy([0], [1])
    root = kaggle_copy({"IDRiD_001": 0}).parent

    with pytest.raises(DataError, match="more than one copy of IDRiD"):
        open_dataset(str(root))


def test_kaggle_layout_has_official_ids_and_origins(kaggle_copy):
    dataset = open_dataset(str(kaggle_copy({"IDRiD_001": 3, "IDRiD_002": 2, "IDRiD_001test": 4})))

    assert dataset.name == "idrid-kaggle"
    assert [(image.id, image.grade, image.origin) for image in dataset.images] == [
        ("train/IDRiD_001", 3, "train"),
        ("train/IDRiD_002", 2, "train"),
        ("test/IDRiD_001", 4, "test"),
    ]


@pytest.mark.parametrize(("labels", "grades"), [("as-given", [4, 2, 2]), ("official", [3, 2, 4])])
def test_grades_changed_on_kaggle_are_noted_and_can_be_replaced(kaggle_copy, labels, grades):
    root = kaggle_copy({"IDRiD_098": 4, "IDRiD_099x": 2, "IDRiD_062test": 2})

    dataset = open_dataset(str(root), options={"labels": labels})

    assert [image.grade for image in dataset.images] == grades
    assert "2 of 3 grades of the Kaggle table" in dataset.notes[0]
    assert dataset.label_version.startswith(f"{labels.replace('-', ' ')}; 2 of 3 grades")
    assert "train/IDRiD_098 (4, officially 3)" in dataset.notes[0]
    assert "test/IDRiD_062 (2, officially 4)" in dataset.notes[0]


def test_unknown_value_of_labels(kaggle_copy):
    with pytest.raises(DataError, match="labels should be as-given or official, not 'offical'"):
        open_dataset(str(kaggle_copy({"IDRiD_001": 0})), options={"labels": "offical"})


def test_download_without_kagglehub_describes_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kagglehub", None)

    with pytest.raises(DataError, match=r"pip install 'kagglehub.*'.*--data FOLDER") as raised:
        open_dataset("idrid", cache_dir=tmp_path)
    assert len(raised.value.faults) == 1


def test_download_without_network_describes_what_to_do(monkeypatch, tmp_path):
    def fail(handle):
        raise ConnectionError(f"cannot reach the server\nfor {handle}")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=fail))

    with pytest.raises(DataError, match=r"could not be downloaded \(cannot reach.*--data FOLDER") as raised:
        open_dataset("idrid", cache_dir=tmp_path)
    assert "\n" not in str(raised.value)


def test_download_is_opened(monkeypatch, tmp_path, kaggle_copy):
    root = kaggle_copy({"IDRiD_001": 0})
    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=lambda handle: str(root)))

    assert open_dataset("idrid", cache_dir=tmp_path / "cache").name == "idrid-kaggle"


def test_files_in_the_cache_folder_replace_the_download(monkeypatch, tmp_path, kaggle_copy):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    shutil.copytree(kaggle_copy({"IDRiD_001": 0}), tmp_path / "cache" / "idrid")

    assert len(open_dataset("idrid", cache_dir=tmp_path / "cache")) == 1


@pytest.mark.real
def test_real_official_copy(real_data, tmp_path):
    dataset = open_dataset(str(real_data / "idrid"))
    split = stratified_split(dataset, SplitConfig())

    assert dataset.counts("train") == (134, 20, 136, 74, 49)
    assert (len(dataset), len(split.test)) == (466, 53)
    assert len(split.train) + len(split.validation) == 412
    assert sum("same file" in note for note in dataset.notes) == 6
    assert sum("different labels" in note for note in dataset.notes) == 3
    left_out = set(range(466)) - {*split.train, *split.validation, *split.test}
    assert [dataset.images[index].id for index in left_out] == ["train/IDRiD_118"]
    assert load_images(dataset, 32, tmp_path).shape == (466, 32, 32, 3)


@pytest.mark.real
def test_real_kaggle_copy_with_official_grades_is_the_official_set(real_data):
    official = {image.id: image.grade for image in open_dataset(str(real_data / "idrid")).images}
    kaggle = open_dataset(str(real_data / "idrid-kaggle"), options={"labels": "official"})
    given = open_dataset(str(real_data / "idrid-kaggle"))

    assert all(official[image.id] == image.grade for image in kaggle.images)
    differing = {image.id for image in given.images if official[image.id] != image.grade}
    assert differing == OFFICIAL_GRADES.keys() & official.keys() & {image.id for image in given.images}


def test_official_grades_are_all_of_the_scale():
    assert len(OFFICIAL_GRADES) == 27
    assert set(OFFICIAL_GRADES.values()) <= set(range(5))


def test_relative_paths_work(monkeypatch, official_copy):
    root = official_copy([0, 1], [2])
    monkeypatch.chdir(root.parent)

    assert open_dataset("./idrid").images[0].path.is_absolute()
    assert isinstance(open_dataset("idrid/B. Disease Grading").images[0].path, Path)


@pytest.mark.parametrize("name", ["b. IDRiD_Disease Grading_Testing Labels.csv", "IDRiD_labels.tsv"])
@pytest.mark.parametrize("source", ["", "name"])
def test_a_table_without_the_rest_of_idrid_is_read_as_any_table(tmp_path, draw_image, name, source):
    for seed, image in enumerate(("IDRiD_001", "IDRiD_002test")):
        draw_image(tmp_path / f"{image}.jpg", seed)
    rows = "Image name,Retinopathy grade\nIDRiD_001,1\nIDRiD_002test,3\n"
    (tmp_path / name).write_text(rows.replace(",", "\t") if name.endswith("tsv") else rows)

    dataset = open_dataset(str(tmp_path / (name if source else "")))

    assert [(image.id, image.grade) for image in dataset.images] == [("train/IDRiD_001", 1), ("train/IDRiD_002test", 3)]


def test_a_table_next_to_another_copy_is_the_one_that_is_read(kaggle_copy):
    table = kaggle_copy({"IDRiD_001": 0, "IDRiD_002": 2}) / "idrid_labels.tsv"
    table.write_text("image\tlevel\nIDRiD_002\t4\n")

    assert [(image.id, image.grade) for image in open_dataset(str(table)).images] == [("train/IDRiD_002", 4)]
