"""Label tables of any data set, and their faults."""

from pathlib import Path

import pytest

from drft.data import open_dataset
from drft.errors import DataError


@pytest.fixture
def table(tmp_path, draw_image):
    """Write a label table and an image for each of the names."""

    def make(text: str, names: tuple[str, ...] = ("a", "b"), images: str = "images") -> Path:
        for seed, name in enumerate(names):
            draw_image(tmp_path / images / (name if "." in name else f"{name}.png"), seed)
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def grades(dataset):
    return {image.id: image.grade for image in dataset.images}


@pytest.mark.parametrize(
    "header",
    [
        "id_code,diagnosis",
        "image,level",
        "Image name,Retinopathy grade ",
        "image_id,adjudicated_dr_grade",
        "ID,DR grade",
    ],
)
def test_known_columns_are_recognised(table, header):
    dataset = open_dataset(str(table(f"{header}\na,0\nb,4\n")))

    assert dataset.name == "labels"
    assert grades(dataset) == {"train/a": 0, "train/b": 4}


def test_folder_with_one_table_is_enough(table):
    assert len(open_dataset(str(table("image,level\na,0\nb,4\n").parent))) == 2


def test_a_folder_with_several_tables_is_an_error(table):
    path = table("image,level\na,0\n")
    path.with_name("more.csv").write_text(path.read_text())

    with pytest.raises(DataError, match=r"2 CSV files \(labels.csv, more.csv\): name the one"):
        open_dataset(str(path.parent))


@pytest.mark.parametrize(
    ("written", "stored"), [("a.jpg", "a.jpg"), ("a", "a.JPEG"), ("a", "a.tiff"), ("sub/a", "sub/a.png")]
)
def test_suffixes_and_folders_in_names_are_optional(table, written, stored):
    dataset = open_dataset(str(table(f"image,level\n{written},1\n", names=(stored,))))

    assert [image.path.name for image in dataset.images] == [Path(stored).name]


@pytest.mark.parametrize(
    "text", ["image;level\r\na;1\r\nb;2\r\n", "image\tlevel\na\t1\nb\t2\n", "\ufeffimage,level\n\na,1.0\nb,2,,\n"]
)
def test_usual_delimiters_and_line_ends(table, text):
    assert grades(open_dataset(str(table(text)))) == {"train/a": 1, "train/b": 2}


def test_columns_and_folder_by_option(table, tmp_path):
    path = table("image,eye,who,part\na,1,x,train\nb,2,x,test\n", images="elsewhere/deep")
    options = {
        "image_column": "image",
        "grade_column": "Eye",
        "group_column": "who",
        "origin_column": "part",
        "images": str(tmp_path / "elsewhere"),
    }

    first, second = open_dataset(str(path), options=options).images

    assert (first.id, first.origin, second.id, second.origin) == ("train/a", "train", "test/b", "test")
    assert first.group == second.group


def test_both_eyes_of_a_patient_are_one_group(table):
    names = ("10_left", "10_right", "11_left")
    dataset = open_dataset(str(table("image,level\n10_left,0\n10_right,1\n11_left,2\n", names=names)))

    left, right, other = (image.group for image in dataset.images)
    assert left == right != other
    assert any("two eyes of one patient" in note for note in dataset.notes)


def test_ungradable_images_are_left_out(table):
    text = "image_id,adjudicated_dr_grade,adjudicated_gradable\na,1,1\nb,,0\n"

    dataset = open_dataset(str(table(text)))

    assert grades(dataset) == {"train/a": 1}
    assert any("1 images that graders marked as not gradable" in note for note in dataset.notes)


def test_unused_images_and_a_missing_test_part_are_noted(table):
    dataset = open_dataset(str(table("image,level\na,1\n")))

    assert any("1 images in" in note and "not used" in note for note in dataset.notes)
    assert any("no test images" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("image,level\n", "no rows below its header"),
        ("image,level\na,7\n", r"labels.csv, line 2: grade '7' should be a whole number from 0 to 4"),
        ("image,level\na,\n", "line 2: there is no label in column 'level'"),
        ("image,level\na,2.5\n", "grade '2.5'"),
        ("image,level\na,-1\n", "grade '-1'"),
        ("image,level\nc,1\n", "line 2: no image 'c' in .*: add the file or remove the line"),
        ("image,level\n,1\n", "line 2: no image is named"),
        ("image,level\na,1\nb,1\na,1\n", "line 4: 'a' is listed before, in labels.csv, line 2"),
        ("image,level\na,1\na.png,1\n", "line 3: 'a.png' is listed before"),
        ("image,diagnosys\na,1\n", r"the label \(did you mean 'diagnosys'\?\); its columns are 'image', 'diagnosys'"),
        ("fundus,level\na,1\n", "no column that names the image.*--image-column"),
        ("image,level,split\na,1,later\n", "line 2: split 'later' should be 'train' or 'test'"),
        ('image,notes,level\na,none,1\nb,"2 mm lesion,2\n', "line 3 is not CSV .*: close or remove its quotation mark"),
        ('image,notes,level\na,"2 mm lesion,1\nb,"3 mm,2\n', "line 2 is not CSV .*: close or remove its quotation"),
        ('image,"notes,level\na,none,1\n', "line 1 is not CSV"),
        ('image,level\na,1\n"b\nc",2\n', "line 3: the image in column .* contains a line break"),
        ('image,level\na,"1\n2"\n', "line 2: the label in column 'level' contains a line break"),
        ('image,level,patient\na,1,"p\n1"\n', "line 2: the group in column 'patient' contains a line break"),
        ("image,notes,level\na,large, red,1\nb,,2\n", r"csv, line 2: .*more cells than the header has names \(3\)"),
        ("image,notes,level,,\na,large, red,1\n", r"line 2: .*more cells than the header has names \(3\)"),
        ("image,level,level\na,1,2\n", r"the header names one column 2 times \('level' and 'level'\): keep one"),
        ("image,Image,level\na,b,2\n", r"one column 2 times \('image' and 'Image'\)"),
        ("image,level,group,group\na,1,x,y\n", r"one column 2 times \('group' and 'group'\)"),
    ],
)  # fmt: skip
def test_each_fault_is_one_line(table, text, fault):
    with pytest.raises(DataError, match=fault) as raised:
        open_dataset(str(table(text)))
    assert len(raised.value.faults) == 1


@pytest.mark.parametrize(
    "name", ["../secret", "images/../../secret", "/etc/passwd", "..\\secret", "C:\\secret", "~/secret"]
)
def test_names_that_lead_out_of_the_folder_are_errors(table, draw_image, name):
    path = table(f"image,level\n{name},1\na,1\n")
    draw_image(path.parent.parent / "secret.png")

    with pytest.raises(DataError, match=r"line 2: image name .* leads out of") as raised:
        open_dataset(str(path))
    assert len(raised.value.faults) == 1


def test_notes_may_have_line_breaks_and_separators_in_quotation_marks(table):
    text = 'image,notes,notes,level\na,"large, ""red""\nand round",,1\nb,none,,7\n'

    with pytest.raises(DataError, match=r"labels.csv, line 4: grade '7'"):  # a row is named by its first line
        open_dataset(str(table(text)))
    assert grades(open_dataset(str(table(text.replace("7", "2"))))) == {"train/a": 1, "train/b": 2}


@pytest.mark.parametrize(
    "rows",
    [
        'a,1,"2 mm\nb,2,"\n',  # the marks are the first and the last of two cells
        'a,1,"2 mm\nb,2,3 mm"\n',
        'a,1,"2 mm\r\nb,2,\r\nmissing,2,3 mm"\r\n',
    ],
)
def test_rows_between_stray_quotation_marks_are_named(table, rows):
    fault = r"labels.csv, line 2: it has quotation marks around other rows, such as that of 'b' in line 3: remove"
    with pytest.raises(DataError, match=fault) as raised:
        open_dataset(str(table(f"image,level,notes\n{rows}")))
    assert len(raised.value.faults) == 1


def test_a_stray_quotation_mark_in_the_header_is_named(table):
    with pytest.raises(DataError, match=r"line 1: it has quotation marks around other rows, such as that of 'a'"):
        open_dataset(str(table('image,level,"notes\na,1,"\nb,2,none\n')))


@pytest.mark.parametrize(
    "note", ["as\nb,1,too", "as\nc,1,which is missing", "as\nz", "of\nz, perhaps", 'with ""z""\n1,2,3', "1,2,3\n"]
)
def test_texts_with_line_breaks_are_no_rows(table, note):
    text = f'image,level,notes\na,1,"{note}"\nb,2,\n'
    assert grades(open_dataset(str(table(text, ("a", "b", "z"))))) == {"train/a": 1, "train/b": 2}


def test_a_first_column_without_a_name_is_accepted(table):
    assert grades(open_dataset(str(table(",image,level\n0,a,1\n1,b,2\n")))) == {"train/a": 1, "train/b": 2}


def test_faults_are_spelled_out_up_to_a_limit(table):
    text = "image,level\n" + "".join(f"x{number},9\n" for number in range(30))

    with pytest.raises(DataError) as raised:
        open_dataset(str(table(text)))

    assert len(raised.value.faults) == 21
    assert raised.value.faults[-1] == "... and 40 more"


def test_a_name_that_matches_two_files_is_an_error(table, draw_image):
    path = table("image,level\na,1\n")
    draw_image(path.parent / "other" / "a.png", 9)

    with pytest.raises(DataError, match=r"ambiguous, it may be images/a\.png and other/a\.png"):
        open_dataset(str(path))


@pytest.mark.parametrize("again", ["A.PNG,1,train", "images/a,2,train", "images\\a.png,1,train", "a,1,test"])
def test_a_file_with_two_names_is_listed_twice(table, again):
    path = table(f"image,level,split\na,1,train\nb,2,train\n{again}\n")

    with pytest.raises(DataError, match=r"csv, line 4: .* is the same file as 'a' in labels.csv, line 2: remove one"):
        open_dataset(str(path))


def test_folders_in_names_distinguish_equal_names(table, draw_image):
    path = table("image,level\nimages/a,1\nother/a.png,2\n")
    draw_image(path.parent / "other" / "a.png", 9)

    dataset = open_dataset(str(path))

    assert [image.path.parent.name for image in dataset.images] == ["images", "other"]


@pytest.mark.parametrize("name", ["images/a.png", "images\\a.png", "images/a", "set/images/a.png"])
def test_names_may_begin_with_the_folder_of_the_images(table, draw_image, name):
    path = table(f"image,level\n{name},1\nb,2\n", images="set/images")
    options = {"images": path.parent / "set" / "images"}
    assert [image.path.name for image in open_dataset(str(path), options=options).images] == ["a.png", "b.png"]

    path.write_text(f"image,level\nother/{name},1\nb,2\n")
    with pytest.raises(DataError, match="line 2: no image 'other/"):
        open_dataset(str(path), options=options)


def test_a_wrong_column_option_reports_the_nearest_and_all_columns(table):
    options = {"image_column": "imge", "grade_column": "mark"}

    with pytest.raises(DataError) as raised:
        open_dataset(str(table("image,level\na,1\n")), options=options)

    first, second = raised.value.faults
    assert "no column 'imge' (did you mean 'image'?); its columns are 'image', 'level'" in first
    assert "no column 'mark'" in second


def test_options_without_effect_are_errors(table):
    with pytest.raises(DataError) as raised:
        open_dataset(str(table("image,level\na,1\n")), options={"labels": "official", "imges": "x"})

    assert "'labels' does not apply" in raised.value.faults[0]
    assert "unknown data option 'imges' (did you mean 'images'?)" in raised.value.faults[1]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("idird", r"no data source 'idird' \(did you mean 'idrid'\?\)"),
        ("/no/such/folder", "no data source '/no/such/folder': use synthetic"),
        ("~nobody-of-this-name/data", "no data source"),
        ("x" * 5000, "cannot be opened .*: check the path"),
    ],
)
def test_unknown_sources(source, fault):
    with pytest.raises(DataError, match=fault):
        open_dataset(source)


def test_a_folder_without_a_table(tmp_path):
    with pytest.raises(DataError, match="holds neither a known data set nor a label table"):
        open_dataset(str(tmp_path))


def test_a_missing_image_folder(table, tmp_path):
    with pytest.raises(DataError, match="there is no image folder"):
        open_dataset(str(table("image,level\na,1\n")), options={"images": str(tmp_path / "none")})


def test_a_table_that_is_not_text(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")

    with pytest.raises(DataError, match="is not UTF-8 text"):
        open_dataset(str(path))


@pytest.mark.parametrize("start", ["", "sep=;\n", '"sep=;"\n', "\n", "\n  \n", "\nsep=;\n"])
def test_the_first_lines_of_other_programs_are_skipped(table, start):
    path = table(f"{start}image;level\na;0\nb;4\n")
    assert grades(open_dataset(str(path))) == {"train/a": 0, "train/b": 4}
    path = table(f"{start}image;level\na;0\nb;7\n")
    with pytest.raises(DataError, match=f"labels.csv, line {start.count(chr(10)) + 3}: grade '7'"):
        open_dataset(str(path))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(table, separator):
    assert grades(open_dataset(str(table("image,level\na,0\nb,4\n".replace(",", separator))))) == {
        "train/a": 0,
        "train/b": 4,
    }


@pytest.mark.parametrize("text", ["sep=;", "sep=;\n", "sep=;\n\n"])
def test_a_separator_alone_is_no_table(table, text):
    with pytest.raises(DataError, match="has no rows below its header"):
        open_dataset(str(table(text)))


def test_a_table_of_tabs_may_be_called_tsv(table):
    path = table("image\tlevel\na\t0\nb\t4\n")
    named = path.rename(path.with_suffix(".tsv"))
    for source in (named, named.parent):
        assert grades(open_dataset(str(source))) == {"train/a": 0, "train/b": 4}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("No_DR", "Proliferate_DR"), (0, 4)),
        (("normal", "PDR"), (0, 4)),
        (("no DR", "2"), (0, 2)),
    ],
)
def test_grades_may_be_written_as_words(table, words, expected):
    dataset = open_dataset(str(table(f"image,level\na,{words[0]}\nb,{words[1]}\n")))
    assert tuple(grades(dataset).values()) == expected


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ("images", "there is no image folder ~nobody-of-this-name/x"),
        ("exclude", "~nobody-of-this-name/x cannot be read"),
    ],
)
def test_the_home_of_an_unknown_user_is_a_path_that_does_not_exist(table, option, fault):
    with pytest.raises(DataError, match=fault):
        open_dataset(str(table("image,level\na,1\n")), options={option: "~nobody-of-this-name/x"})


def test_options_from_python_may_be_paths_lists_and_truth_values(table):
    path = table("file,found\na,low\nb,high\n")
    options = {"images": path.parent / "images", "label_column": "found", "classes": ["low", "high"], "ordinal": True}
    dataset = open_dataset(path, options=options)
    assert (dataset.grades, dataset.ordinal) == (("low", "high"), True)
    assert not open_dataset(path, options={**options, "ordinal": False}).ordinal
