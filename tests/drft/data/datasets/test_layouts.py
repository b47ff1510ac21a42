"""Published data sets are recognised by their files and folders."""

import re

import numpy as np
import pytest

from drft.data import GRADES, open_dataset
from drft.data.checks import check_source
from drft.data.images import load_images
from drft.errors import DataError


@pytest.fixture
def lay_out(tmp_path, draw_image):
    """Write tables with their text and images; return the folder."""

    def make(tables: dict[str, str], images: list[str]):
        for seed, name in enumerate(images):
            draw_image(tmp_path / "set" / name, seed)
        for name, text in tables.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "set"

    return make


def grades(dataset):
    return {image.id: image.grade for image in dataset.images}


def test_aptos(lay_out):
    folder = lay_out(
        {
            "train.csv": "id_code,diagnosis\na,0\nb,4\n",
            "test.csv": "id_code\nc\n",
            "sample_submission.csv": "id_code\n",
        },
        ["train_images/a.png", "train_images/b.png", "test_images/c.png"],
    )
    dataset = open_dataset(str(folder))

    assert (dataset.name, grades(dataset)) == ("aptos", {"train/a": 0, "train/b": 4})
    assert all(image.path.parent.name == "train_images" for image in dataset.images)


def test_a_known_table_with_a_faulty_row_is_still_that_table(lay_out):
    folder = lay_out({"train.csv": "id_code,diagnosis\na,0,1\n", "test.csv": "id_code\nc\n"}, ["train_images/a.png"])
    with pytest.raises(DataError, match=r"train.csv, line 2: .*more cells than the header"):
        open_dataset(str(folder))


@pytest.mark.parametrize("images", ["train", "resized_train/resized_train"])
def test_eyepacs_keeps_the_eyes_of_a_patient_together(lay_out, images):
    names = ["10_left", "10_right", "13_left"]
    folder = lay_out(
        {
            "trainLabels.csv": "image,level\n10_left,0\n10_right,1\n13_left,2\n",
            "trainLabels_cropped.csv": ",image,level",
        },
        [f"{images}/{name}.jpeg" for name in names],
    )
    dataset = open_dataset(str(folder))

    assert (dataset.name, list(grades(dataset).values())) == ("eyepacs", [0, 1, 2])
    assert [image.group for image in dataset.images] == ["patient 10", "patient 10", "patient 13"]


MESSIDOR = """image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable
2005_01_PP.png,0,0,1
2005_02_PP.png,2,0,1
IM1.jpg,3,1,1
IM2.jpg,,,0
"""


@pytest.mark.parametrize("pairs", ["messidor-2.csv", "IMAGES/messidor-2.csv"])
def test_messidor_keeps_pairs_together_and_leaves_out_ungradable_images(lay_out, pairs):
    images = ["2005_01_PP.png", "2005_02_PP.png", "IM1.JPG", "IM2.JPG"]
    folder = lay_out(
        {"messidor_data.csv": MESSIDOR, pairs: "left;right\n2005_01_PP.png;2005_02_PP.png\nIM1.JPG;IM2.JPG\n"},
        [f"IMAGES/{name}" for name in images],
    )
    dataset = open_dataset(str(folder))

    assert (dataset.name, list(grades(dataset).values())) == ("messidor2", [0, 2, 3])
    first, second, third = (image.group for image in dataset.images)
    assert first == second != third
    assert any("1 images that graders marked as not gradable are left out" in note for note in dataset.notes)


def test_messidor_without_its_pairs_has_a_note(lay_out):
    folder = lay_out({"messidor_data.csv": MESSIDOR}, ["2005_01_PP.png", "2005_02_PP.png", "IM1.jpg"])

    assert any("messidor-2.csv is not there" in note for note in open_dataset(str(folder)).notes)


def test_messidor_with_a_list_that_has_no_pairs(lay_out):
    folder = lay_out({"messidor_data.csv": MESSIDOR, "messidor-2.csv": "a;b\n1;2\n"}, ["IM1.jpg"])

    with pytest.raises(DataError, match="should have the columns left and right; it has 'a', 'b'"):
        open_dataset(str(folder))


def test_a_table_without_its_images_is_one_fault(lay_out):
    folder = lay_out({"messidor_data.csv": MESSIDOR}, [])

    with pytest.raises(
        DataError, match=r"no images near .*: put them there or name their folder with --images"
    ) as raised:
        open_dataset(str(folder))
    assert len(raised.value.faults) == 1


def test_ddr_has_its_own_parts_and_leaves_out_ungradable_images(lay_out):
    first, second, third, fourth, fifth = (f"007-000{number}-000" for number in range(5))
    folder = lay_out(
        {
            "DR_grading/train.txt": f"{first}.jpg 0\n{second}.jpg 5\n",
            "DR_grading/valid.txt": f"{third}.jpg 4\n",
            "DR_grading/test.txt": f"{fourth}.jpg 2\n{fifth}.jpg 5\n",
        },
        [
            f"DR_grading/{name}.jpg"
            for name in (f"train/{first}", f"train/{second}", f"valid/{third}", f"test/{fourth}", f"test/{fifth}")
        ],
    )
    dataset = open_dataset(str(folder))

    assert (dataset.name, grades(dataset)) == ("ddr", {f"train/{first}": 0, f"train/{third}": 4, f"test/{fourth}": 2})
    assert any("2 images of grade 5 are left out" in note for note in dataset.notes)


def test_names_of_ddr_may_be_times(lay_out):
    folder = lay_out({"train.txt": "20170413102628830.jpg 2\n"}, ["train/20170413102628830.jpg"])

    assert grades(open_dataset(str(folder))) == {"train/20170413102628830": 2}


def test_faults_in_ddr_are_reported_together(lay_out):
    names = [f"007-000{number}-000.jpg" for number in range(4)]
    lines = [f"{name} {grade}" for name, grade in zip(names, ("0", "six", "7", "1"), strict=True)]
    folder = lay_out({"train.txt": "\n".join(lines)}, [f"train/{names[0]}", f"train/{names[2]}"])

    with pytest.raises(DataError) as raised:
        open_dataset(str(folder))
    assert [re.findall("line [0-9]", fault) for fault in raised.value.faults] == [["line 2"], ["line 3"], ["line 4"]]


def test_text_files_of_other_data_sets_are_not_ddr(lay_out):
    lists = {"train.txt": "1.png 3\n2.png 5\n", "test.txt": "007-0004-000.png 1\n"}
    dataset = open_dataset(str(lay_out(lists, ["cat/1.png", "dog/2.png"])))

    assert (dataset.name, dataset.grades) == ("set", ("cat", "dog"))


@pytest.fixture
def retinamnist(tmp_path):
    """Write RetinaMNIST with some arrays replaced."""

    def make(**changed):
        rng = np.random.default_rng(0)
        arrays = {}
        for part, count in (("train", 4), ("val", 2), ("test", 3)):
            arrays[f"{part}_images"] = rng.integers(0, 255, (count, 28, 28, 3), dtype=np.uint8)
            arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None]
        path = tmp_path / "set" / "retinamnist.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **arrays | changed)
        return path

    return make


def test_retinamnist_becomes_images(retinamnist, tmp_path):
    path = retinamnist()
    dataset = open_dataset(str(path.parent), cache_dir=tmp_path / "cache")

    assert (dataset.name, len(dataset), dataset.counts("test")) == ("retinamnist", 9, (1, 1, 1, 0, 0))
    assert dataset.counts("train") == (2, 2, 1, 1, 0)
    with np.load(path) as arrays:
        assert np.array_equal(load_images(dataset, 28, tmp_path / "cache")[0], arrays["train_images"][0])
    assert open_dataset(str(path), cache_dir=tmp_path / "cache") == dataset


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"val_images": np.array([{"a": 1}], dtype=object)}, "no whole RetinaMNIST file .*allow_pickle=False"),
        ({"val_images": np.zeros((2, 28, 28), np.uint8)}, "val_images should be 8-bit RGB images"),
        ({"test_labels": np.zeros(2, np.uint8)}, "test_labels should be one whole number for each of 3"),
        ({"test_labels": np.full(3, 7)}, r"retinamnist.npz, test_0000: grade '7' should be"),
    ],
)
def test_a_damaged_retinamnist(retinamnist, tmp_path, changed, fault):
    with pytest.raises(DataError, match=fault):
        open_dataset(str(retinamnist(**changed)), cache_dir=tmp_path / "cache")


def test_a_cut_off_retinamnist(retinamnist, tmp_path):
    path = retinamnist()
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(DataError, match="no whole RetinaMNIST file"):
        open_dataset(str(path), cache_dir=tmp_path / "cache")


def test_folders_of_classes_with_parts(lay_out):
    names = ["train/b/1.png", "train/b/2.png", "train/a/1.png", "val/a/1.png", "test/b/1.png", "test/a/9.png"]
    dataset = open_dataset(str(lay_out({}, names)))

    assert (dataset.name, dataset.grades) == ("set", ("a", "b"))
    assert grades(dataset) == {
        "train/a/1": 0, "train/b/1": 1, "train/b/2": 1, "train/val/a/1": 0, "test/a/9": 0, "test/b/1": 1,
    }  # fmt: skip
    assert not dataset.ordinal


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["0", "1", "2", "3", "4"], ("0", "1", "2", "3", "4")),
        (["No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR"], GRADES),
        (["9", "10"], ("9", "10")),
        (["dogs", "Cats"], ("Cats", "dogs")),
    ],
)
def test_folders_named_as_grades_are_the_grades(lay_out, folders, names):
    dataset = open_dataset(str(lay_out({}, [f"wrapped/{folder}/a.png" for folder in folders])))

    assert dataset.grades == names
    for image in dataset.images:
        expected = folders if names == GRADES else list(names)
        assert image.grade == expected.index(image.path.parent.name)


@pytest.mark.parametrize(
    "names",
    [
        ["train/1.png", "test/1.png"],
        ["train/a/1.png", "other/b/1.png"],
        ["loose.png", "a/1.png"],
    ],
)
def test_other_folders_are_not_classes(lay_out, names):
    with pytest.raises(DataError, match="holds neither a known data set nor a label table, nor a folder"):
        open_dataset(str(lay_out({}, names)))


@pytest.mark.parametrize(
    ("stray", "names", "shown"),
    [
        (["loose.png"], ["a/1.png", "b/1.png"], "loose.png"),
        (["loose.png", "more.png"], ["inside/a/1.png", "inside/b/1.png"], "loose.png and 1 more"),
        (["loose.png"], ["train/a/1.png", "train/b/1.png", "test/a/1.png"], "loose.png"),
        (["other/1.png", "other/2.png"], ["train/a/1.png", "train/b/1.png"], "other/1.png and 1 more"),
        (["train/loose.png"], ["train/a/1.png", "train/b/1.png", "test/a/1.png"], "train/loose.png"),
    ],
)
def test_an_image_beside_the_classes_is_named(lay_out, stray, names, shown):
    folder = lay_out({}, [*names, *stray])
    text = f"and beside them {shown}: move each image into the folder of its class, or away"

    with pytest.raises(DataError, match=text) as raised:
        open_dataset(str(folder))
    assert len(raised.value.faults) == 1
    assert any(text in finding.text for finding in check_source(str(folder)).findings)
    for name in stray:
        (folder / name).unlink()
    assert len(open_dataset(str(folder)).grades) == 2


@pytest.mark.parametrize("names", [("invalid", "valid"), ("bus", "car", "train"), ("broken valve", "test tube")])
def test_classes_may_have_names_of_parts_if_not_all_have(lay_out, names):
    dataset = open_dataset(str(lay_out({}, [f"{name}/{number}.png" for name in names for number in range(2)])))

    assert dataset.grades == names
    assert {image.origin for image in dataset.images} == {"train"}
    assert not any("validation folder" in note for note in dataset.notes)


def test_classes_with_names_of_parts_may_be_in_parts(lay_out):
    names = [f"{part}/{name}/1.png" for part in ("train", "test") for name in ("valid", "invalid")]
    dataset = open_dataset(str(lay_out({}, names)))

    assert dataset.grades == ("invalid", "valid")
    assert [image.origin for image in dataset.images].count("test") == 2


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (
            ["a/1.jpg", "a/1.png", "b/1.png"],
            "a/1.jpg and a/1.png have the same name without its ending: rename one of them",
        ),
        (
            ["train/a/1.png", "training/a/1.png", "train/b/1.png"],
            "train/a/1.png and training/a/1.png have the same part, class and name: rename one of them",
        ),
    ],
)
def test_two_images_of_one_name_are_an_error(lay_out, names, fault):
    with pytest.raises(DataError) as raised:
        open_dataset(str(lay_out({}, names)))
    assert raised.value.faults == (fault,)


@pytest.mark.parametrize("top", ["", "train/"])
def test_too_many_folders_to_be_classes_are_counted(lay_out, top):
    folder = lay_out({}, [f"{top}{number}/{image}.png" for number in range(11) for image in "ab"])
    with pytest.raises(DataError, match="22 images have 11 different labels, too many to be classes"):
        open_dataset(str(folder))


def test_a_check_counts_the_classes_of_the_folder(lay_out):
    check = check_source(str(lay_out({}, [f"{part}/{name}/1.png" for part in ("train", "test") for name in "abc"])))

    assert check.grades == ("a", "b", "c")
    assert check.counts == {"train": (1, 1, 1), "test": (1, 1, 1)}


@pytest.mark.parametrize("name", ["aptos", "eyepacs", "messidor2", "ddr", "retinamnist"])
def test_data_sets_in_the_cache_folder_are_found_by_name(lay_out, tmp_path, name):
    folder = lay_out({"labels.csv": "image,grade\na,1\nb,2\n"}, ["a.png", "b.png"])
    (tmp_path / "cache").mkdir()
    folder.rename(tmp_path / "cache" / name)

    assert grades(open_dataset(name, cache_dir=tmp_path / "cache")) == {"train/a": 1, "train/b": 2}
