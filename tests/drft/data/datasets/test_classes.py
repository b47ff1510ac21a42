"""Classes of any names are found in labels, and are ordered only where the data or the user say so."""

import pytest

from drft.data import GRADES, open_dataset
from drft.data.checks import check_source
from drft.data.datasets.classes import find_classes, parse_class
from drft.errors import DataError


@pytest.mark.parametrize(
    ("labels", "options", "names", "ordinal"),
    [
        (["nevus", "melanoma", "Nevus ", "nevus"], {}, ("melanoma", "nevus"), False),
        (["HER2+", "HER2-"], {}, ("HER2+", "HER2-"), False),
        (["1", "0", "1.0", "2"], {}, ("0", "1", "2"), False),
        (["10", "9"], {}, ("9", "10"), False),
        (["1", "0", "2"], {"ordinal": "yes"}, ("0", "1", "2"), True),
        (["0", "1"], {"classes": "benign, malignant"}, ("benign", "malignant"), False),
        (["low", "high"], {"ordinal": "yes", "classes": "low,high"}, ("low", "high"), True),
        (["stage 10", "stage 2"], {"ordinal": "yes"}, ("stage 2", "stage 10"), True),
        (["severe", "normal", "mild"], {"ordinal": "yes"}, ("normal", "mild", "severe"), True),
        (["severe", "normal", "mild"], {}, ("mild", "normal", "severe"), False),
        (["No_DR", "Mild", "2"], {}, GRADES, True),
        (["Prüfung", "проба", "对照"], {}, ("Prüfung", "проба", "对照"), False),
    ],
)
def test_names_and_order(labels, options, names, ordinal):
    assert find_classes(labels, options, "labels") == (names, ordinal)


@pytest.mark.parametrize(
    ("labels", "options", "fault"),
    [
        (["a", "b"], {"ordinal": "yes"}, "--ordinal needs the order of the classes a, b: .* with --classes"),
        (["a", "b"], {"classes": "a,c"}, "--classes does not list 'b': list every class"),
        (["a", "b"], {"classes": "a,,b"}, "should be different names, separated by commas"),
        (
            [f"patient{number}" for number in range(40)],
            {},
            "40 images have 40 different labels, too many to be classes",
        ),
    ],
)
def test_faults(labels, options, fault):
    with pytest.raises(DataError, match=fault) as raised:
        find_classes(labels, options, "labels")
    assert len(raised.value.faults) == 1


def test_a_number_is_the_name_of_a_class_before_it_is_a_place():
    assert parse_class("2", ("1", "2", "3")) == 1
    assert parse_class("2", ("a", "b", "c")) == 2
    with pytest.raises(DataError, match="label '0' is none of the classes 1, 2"):
        parse_class("0", ("1", "2"))
    with pytest.raises(DataError, match="label 'd' is none of the classes a, b"):
        parse_class("d", ("a", "b"))


@pytest.fixture
def table(tmp_path, draw_image):
    """Write a table of a column of labels, and its images."""

    def make(column, labels):
        names = [f"p{number}" for number in range(len(labels))]
        for seed, name in enumerate(names):
            draw_image(tmp_path / f"{name}.png", seed)
        rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
        (tmp_path / "labels.csv").write_text("\n".join([f"file,{column}", *rows, ""]))
        return str(tmp_path / "labels.csv")

    return make


def test_numbers_are_grades_where_a_known_data_set_or_the_user_says_so(table):
    source = table("label", [0, 1, 2, 2])
    assert (open_dataset(source).grades, open_dataset(source).ordinal) == (("0", "1", "2"), False)
    ordered = open_dataset(source, options={"ordinal": "yes"})
    assert (ordered.grades, ordered.ordinal) == (("0", "1", "2"), True)
    hints = [finding.text for finding in check_source(source).findings if finding.kind == "order of classes"]
    assert hints == ["The classes 0, 1, 2 are not ordered: add --ordinal if they are grades."]
    known = open_dataset(table("dr_grade", [0, 1, 2, 2]))
    assert (known.grades, known.ordinal) == (GRADES, True)


def test_labels_are_read_as_version_0_1_read_them_for_its_studies(table):
    dataset = open_dataset(table("label", [0, 2, 2]), options={"label_rules": "0.1"})
    assert (dataset.grades, dataset.ordinal, dataset.labels().tolist()) == (GRADES, True, [0, 2, 2])


def test_one_class_is_a_defect_and_one_image_of_a_class_a_note(table):
    kinds = {finding.kind for finding in check_source(table("label", ["a", "a", "a"])).defects}
    assert "one class" in kinds
    notes = [finding.text for finding in check_source(table("label", ["a", "a", "b"])).findings]
    assert "One training image only is of class b: check the spelling of its label." in notes


def test_a_relabelled_image_takes_the_class_by_name_or_place(table, tmp_path):
    source = table("label", ["b", "a", "c", "a"])
    changes = tmp_path / "corrections" / "new.csv"
    changes.parent.mkdir()
    changes.write_text("id,grade\ntrain/p0,c\ntrain/p1,1\n")
    dataset = open_dataset(source, options={"relabel": str(changes)})
    assert [dataset.grades[image.grade] for image in dataset.images] == ["c", "b", "c", "a"]


def test_a_check_says_which_columns_it_took(table, tmp_path):
    source = table("dx", ["b", "a", "b", "a"])
    assert check_source(source).columns == {"image": "file", "label": "dx"}
