"""Files and folders appear whole or not at all, and nothing else is replaced."""

import os
import stat

import pytest

from drft.errors import StudyError
from study.results.files import whole_folder, write_whole


def test_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(StudyError, match="it is a device or a pipe; name another file with --csv"):
            write_whole(path, "text", "name another file with --csv")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_link_that_leads_nowhere_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to("link")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").read_text() == "new"


def test_a_folder_that_was_filled_in_the_meantime_stays(tmp_path):
    out = tmp_path / "model"

    def export():
        with whole_folder(out, "name another folder") as draft:
            (draft / "new").touch()
            out.mkdir()
            (out / "own").touch()

    with pytest.raises(StudyError, match=r"cannot write .*model: Directory not empty; name another"):
        export()
    assert [path.name for path in out.iterdir()] == ["own"]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("replace", [False, True])
def test_an_empty_folder_behind_a_link_is_filled(tmp_path, replace):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with whole_folder(tmp_path / "link", "", replace=replace) as draft:
        (draft / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "new").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]
