"""Files and folders appear whole or not at all."""

import stat

import pytest

from drft.files.atomic import whole_file, whole_folder


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_replaces_an_older_one_when_the_block_ends(tmp_path, durable):
    path = tmp_path / "new" / "table.csv"
    for text in ("first", "second"):
        with whole_file(path, durable=durable) as draft:
            draft.write_text(text)
            assert draft.suffix == ".csv"
            assert draft.name.startswith(".")
            assert not path.exists() or path.read_text() == "first"
    assert content(path.parent) == {"table.csv": "second"}
    assert permissions(path) == 0o644


def test_a_file_whose_block_raises_leaves_the_older_one(tmp_path):
    def write_half():
        with whole_file(tmp_path / "table.csv") as draft:
            draft.write_text("second")
            raise KeyboardInterrupt

    (tmp_path / "table.csv").write_text("first")
    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert content(tmp_path) == {"table.csv": "first"}


def test_a_folder_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "images"
    with whole_folder(path) as draft:
        (draft / "a").write_text("a")
        assert draft.name.startswith(".")
        assert not path.exists()
    assert content(path) == {"a": "a"}
    assert permissions(path) == 0o755
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("replace", [True, False])
def test_a_folder_of_another_process_stays_unless_it_is_replaced(tmp_path, replace):
    path = tmp_path / "images"
    with whole_folder(path, replace=replace) as draft:
        (draft / "mine").write_text("")
        path.mkdir()
        (path / "other").write_text("")
    assert list(content(path)) == ["mine" if replace else "other"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_block_raises_leaves_nothing(tmp_path):
    def fill_half():
        with whole_folder(tmp_path / "images") as draft:
            (draft / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path, replace):
    (tmp_path / "images").write_text("a file")
    with pytest.raises(OSError, match="images"), whole_folder(tmp_path / "images", replace=replace):
        pass
    assert content(tmp_path) == {"images": "a file"}
