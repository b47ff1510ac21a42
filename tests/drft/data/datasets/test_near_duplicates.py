"""The same image in different files stays on one side of a split when the option asks for it."""

import pytest
from PIL import ImageEnhance

from drft.data import open_dataset
from drft.data.checks import check_source
from drft.data.dataset import grouping
from drft.data.datasets import near_duplicates
from drft.errors import DataError
from tests.helpers.fundus_like import fundus_like

GROUPED = {"group_lookalikes": "yes"}


@pytest.fixture
def source(tmp_path):
    """A table with one image twice in training, darkened, and one in training and test, turned."""
    images = {"a": fundus_like(1), "b": fundus_like(2), "c": fundus_like(3), "d": fundus_like(4)}
    images["dark"] = ImageEnhance.Brightness(images["a"]).enhance(0.8)
    images["turned"] = images["b"].rotate(180)
    for name, image in images.items():
        image.save(tmp_path / f"{name}.png")
    rows = [f"{name},{grade},train" for name, grade in zip("abcd", (0, 1, 2, 2), strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,grade,split", *rows, "dark,2,train", "turned,1,test"]))
    return str(tmp_path / "labels.csv")


def groups(dataset):
    return {image.id: image.group for image in dataset.images}


def test_near_duplicates_are_one_group_with_the_option(source, tmp_path):
    apart = open_dataset(source, cache_dir=tmp_path / "cache")
    together = open_dataset(source, options=GROUPED, cache_dir=tmp_path / "cache")

    assert len(set(groups(apart).values())) == 6
    assert groups(together)["train/a"] == groups(together)["train/dark"]
    assert groups(together)["train/b"] == groups(together)["test/turned"]
    assert len(set(groups(together).values())) == 4
    assert together.fingerprint == apart.fingerprint
    assert grouping(together.images) != grouping(apart.images)
    note = "train/a (0) and train/dark (2) are the same image with different labels; they stay on one side"
    assert any(text.startswith(note) for text in together.notes)
    assert any(text.endswith("are the same image; the training one is left out.") for text in together.notes)


def test_files_are_compared_once(source, tmp_path, monkeypatch):
    first = open_dataset(source, options=GROUPED, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(near_duplicates, "fingerprint_image", None)

    assert open_dataset(source, options=GROUPED, cache_dir=tmp_path / "cache") == first


def test_a_damaged_stored_result_is_replaced(source, tmp_path):
    first = open_dataset(source, options=GROUPED, cache_dir=tmp_path / "cache")
    for path in (tmp_path / "cache" / "lookalikes").iterdir():
        path.write_text('[["gone", "gone too"]]')

    assert open_dataset(source, options=GROUPED, cache_dir=tmp_path / "cache") == first


def test_a_check_reports_that_they_stay_together(source):
    apart, together = check_source(source), check_source(source, options=GROUPED)

    assert not any(pair.together for pair in apart.duplicates)
    assert all(pair.together for pair in together.duplicates)
    assert sum(together.planned.train + together.planned.validation) == 4  # b is left out


def test_rendered_images_have_no_such_option():
    with pytest.raises(DataError, match="'group_lookalikes' does not apply to the data source synthetic"):
        open_dataset("synthetic", options=GROUPED)


@pytest.mark.real
def test_idrid_has_one_such_pair(real_data):
    dataset = open_dataset(str(real_data / "idrid"), options=GROUPED)

    assert groups(dataset)["train/IDRiD_013"] == groups(dataset)["train/IDRiD_397"]
