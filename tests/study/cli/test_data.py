"""``drft-study data``, as a user calls it."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from drft.data import open_dataset
from drft.data.checks import check_source
from study.analysis.noise import detectable_difference
from study.cli.data import command
from study.data_check.html import check_page


def image(seed: int) -> Image.Image:
    """Coarse noise: no two seeds look alike."""
    noise = np.random.default_rng(seed).integers(40, 255, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((160, 160), Image.Resampling.BICUBIC)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty images of two grades in a table; more can be added by hand."""
    lines = ["image,level"]
    for number in range(20):
        image(number).save(tmp_path / f"p{number}.png")
        lines.append(f"p{number},{number % 2}")
    (tmp_path / "labels.csv").write_text("\n".join([*lines, ""]))
    return tmp_path / "labels.csv"


def add(source: Path, name: str, grade: object, shown: Image.Image | None = None) -> None:
    if shown is not None:
        shown.save(source.parent / f"{name}.png")
    source.write_text(f"{source.read_text()}{name},{grade}\n")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name="drft-study data")


def test_a_sound_source_exits_with_0_and_shows_its_counts(source):
    result = call("check", source)

    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "published as train 10 10 0 0 0 20" in lines
    assert "to validate on 2 2 0 0 0 4" in lines
    assert "note: no test part: The source names no test images" in result.stdout
    assert lines[-1].startswith("0 defects, ")
    assert f"{100 * detectable_difference(4, 0.5):.0f} points where they disagree on 50%" in result.stdout


def test_a_defect_exits_with_1_and_is_named(source):
    add(source, "gone", 1)

    result = call("check", source)

    assert result.exit_code == 1
    assert "defect: missing file: labels.csv, line 22: no image 'gone'" in result.stdout


def test_of_many_findings_of_one_kind_the_first_are_told(source):
    for number in range(15):
        add(source, f"gone{number}", 1)

    told = [line for line in call("check", source).stdout.splitlines() if "missing file" in line]

    assert len(told) == 13
    assert told[-1].endswith("... and 3 more; --json and --html list them all")


def test_options_of_the_table_are_those_of_a_run(source, tmp_path):
    source.write_text(source.read_text().replace("image,level", "image,stage"))

    result = call("check", source, "--image-column", "image", "--grade-column", "stage", "--images", tmp_path)

    assert result.exit_code == 0


def test_json_holds_everything(source, tmp_path):
    add(source, "copy", 1, image(4).transpose(Image.Transpose.ROTATE_90))

    result = call("check", source, "--json", tmp_path / "out" / "check.json")

    document = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert result.exit_code == document["defects"] == 1
    assert document["photographs"] == {"named": 21, "sound": 21, "graded": 21}
    assert document["counts"]["train"] == [10, 11, 0, 0, 0]
    pair = document["duplicates"]["pairs"][0]
    assert (pair["first"], pair["second"], pair["how"], pair["conflict"]) == (
        "train/p4",
        "train/copy",
        "rotated by 90°",
        True,
    )
    assert [finding["kind"] for finding in document["findings"] if finding["severity"] == "defect"] == [
        "conflicting labels"
    ]


def test_the_page_stands_alone_and_escapes_what_tables_say(source, tmp_path):
    add(source, "copy", 0, image(3))
    add(source, "<script>alert(1)</script>", 1)

    call("check", source, "--html", tmp_path / "check.html")

    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert len(re.findall(r'<img src="data:image/webp;base64,', page)) == 2
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "Image train/p3" in page
    assert "Image train/copy" in page


def test_rendered_images_are_announced_as_such(source):
    check = check_source(str(source))

    assert "Rendered images, not patients" not in check_page(check)
    assert "Rendered images, not patients" in check_page(replace(check, rendered=True))


def test_a_file_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "file").write_text("")

    result = call("check", source, "--json", tmp_path / "file" / "check.json")

    assert "cannot be written" in str(result.exception)


def test_a_preview_is_a_image_of_the_size_asked_for(source, tmp_path):
    result = call("preview", source, "--out", tmp_path / "sheet.png", "--per-grade", 9, "--side", 40)

    assert result.exit_code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width >= 9 * 40
        assert sheet.height >= 4 * 40  # two grades, each plain and augmented


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """Stand in for kagglehub: its downloads lie in folders that the test fills, by the handle's last part."""
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path / "cache"))

    def folder(handle: str) -> Path:
        return tmp_path / "kaggle" / handle.rpartition("/")[2]

    def download(handle: str) -> str:
        if not folder(handle).is_dir():
            raise ConnectionError(f"no route\nto {handle}")
        return str(folder(handle))

    hub = SimpleNamespace(dataset_download=download, competition_download=download)
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    return folder


def test_what_is_fetched_is_named_with_its_licence_and_its_use(kaggle: Callable[[str], Path]):
    folder = kaggle("aptos2019-blindness-detection")
    (folder / "train_images").mkdir(parents=True)
    for name in ("train", "test", "sample_submission"):
        (folder / f"{name}.csv").write_text("id_code,diagnosis\np,1\n")
    image(1).save(folder / "train_images" / "p.png")

    result = call("fetch", "aptos")

    assert "Licence: the rules of the competition" in result.output
    assert "1 images; 5590 were expected" in result.output
    assert f"drft-study run --data {folder}\n" in result.output
    assert open_dataset("aptos").name == "aptos"
    assert result.exit_code == 1  # most images are missing


def test_files_encoded_again_are_told_by_their_checksums(kaggle: Callable[[str], Path]):
    folder = kaggle("mariaherrerot/idrid-dataset")
    folder.mkdir(parents=True)
    for number in range(455):
        (folder / f"IDRiD_{number:03d}.jpg").write_bytes(b"other bytes")

    result = call("fetch", "idrid")

    assert "455 images, as expected" in result.output
    assert "Checksums: 0 of 6 known ones agree; IDRiD_001.jpg, IDRiD_027.jpg" in result.output
    assert result.exit_code == 0


@pytest.mark.parametrize("name", ["idrid", "aptos", "eyepacs", "messidor2", "ddr"])
def test_without_network_one_line_says_where_to_put_the_files(kaggle, tmp_path, name):
    result = call("fetch", name)

    message = str(result.exception)
    assert "could not be downloaded (no route to" in message
    assert f"unpack it into {tmp_path / 'cache' / name}" in message
    assert "https://www.kaggle.com/" in message
    assert "\n" not in message


def test_what_is_not_on_kaggle_is_fetched_by_hand(kaggle, tmp_path):
    message = str(call("fetch", "retinamnist").exception)

    assert "RetinaMNIST is fetched by hand: get https://zenodo.org/" in message
    assert f"put it into {tmp_path / 'cache' / 'retinamnist'} or any folder FOLDER and use --data FOLDER" in message


def test_files_put_there_by_hand_are_used(kaggle, tmp_path):
    (tmp_path / "cache" / "ddr").mkdir(parents=True)

    assert f"{tmp_path / 'cache' / 'ddr'}: 0 images" in call("fetch", "ddr").output


def test_an_unknown_data_set_is_met_with_the_known_ones(kaggle):
    message = str(call("fetch", "idirid").exception)

    assert "did you mean 'idrid'?" in message
    assert "aptos, eyepacs, messidor2, ddr, retinamnist" in message
