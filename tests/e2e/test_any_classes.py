"""Data sets of any classes, from the check of their labels to the predictions of an exported model."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from study.results.study_results import read_study
from tests.helpers.command_line import call
from tests.helpers.small_images import draw_noise, write_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SPACE = """
name: tiny
question: Does the program work?
fixed: {image_size: 32, batch_size: 16, head_phase.epochs: 1, depth_phase.epochs: 1}
search:
  depth_phase.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
"""
SEARCH = ("--space", "tiny.yaml", "--backbone", "test_resnet", "--weights", "none", "--study", "tiny", "--trials", 2)


def text_labels(folder):
    names = ["melanoma", "nevus", "keratosis, seborrheic"]
    for number in range(30):
        draw_noise(folder / f"p{number}.png", number, 30 * (number % 3))
    write_table(folder / "labels.csv", ("file", "diagnosis"), *((f"p{n}.png", names[n % 3]) for n in range(30)))


def patients(folder):
    for number in range(40):
        draw_noise(folder / f"x{number}.png", number, 30 * (number // 2 % 2))
    rows = [(f"x{number}", ["healthy", "sick"][number // 2 % 2], f"P{number // 2}") for number in range(40)]
    write_table(folder / "labels.csv", ("file", "label", "patient"), *rows)


def seven_classes(folder):
    names = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    for number in range(70):
        draw_noise(folder / f"ISIC_{number}.png", number, 30 * (number % 7))
    write_table(folder / "labels.csv", ("image_id", "dx"), *((f"ISIC_{n}", names[n % 7]) for n in range(70)))


def folders(folder):
    for number in range(40):
        part, name = "test" if number % 5 == 4 else "train", ["cat", "dog"][number % 2]
        draw_noise(folder / part / name / f"{number}.png", number, 30 * (number % 2))


def x_rays(folder):
    """Half of the images have 12 bits, the others 16."""
    rows = [(f"r{number}", ["normal", "pneumonia"][number % 2]) for number in range(32)]
    write_table(folder / "labels.csv", ("image", "finding"), *rows)
    for number in range(32):
        pixels = np.random.default_rng(number).integers(0, 60, (64, 64)) + 30 * (number % 2)
        Image.fromarray((pixels * (16 if number % 4 < 2 else 257)).astype(np.uint16)).save(folder / f"r{number}.png")


LAYOUTS = {
    "text": (
        text_labels,
        ["keratosis, seborrheic", "melanoma", "nevus"],
        "image = file, label = diagnosis; 3 unordered classes",
    ),
    "patients": (
        patients,
        ["healthy", "sick"],
        "image = file, label = label, group = patient (20 groups); 2 unordered classes",
    ),
    "seven": (
        seven_classes,
        ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"],
        "image = image_id, label = dx; 7 unordered classes",
    ),
    "folders": (folders, ["cat", "dog"], "2 unordered classes"),
    "x-rays": (x_rays, ["normal", "pneumonia"], "image = image, label = finding; 2 unordered classes"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_from_labels_to_predictions(layout, tmp_path, monkeypatch, capsys):
    make, classes, columns = LAYOUTS[layout]
    make(tmp_path / "data")
    (tmp_path / "tiny.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    hold_out = () if layout == "folders" else ("--test-fraction", 0.2)

    code, out, err = call(monkeypatch, capsys, "data", "check", "data", *hold_out)
    assert (code, "0 defects" in out) == (0, True), out + err
    assert columns in out.splitlines()

    code, out, err = call(monkeypatch, capsys, "run", "--data", "data", *SEARCH, *hold_out, "--jobs", 1, "--no-report")
    assert code == 0, out + err
    info = read_study("tiny").info
    assert (info.classes, info.ordinal) == (tuple(classes), False)
    assert info.split["n_test"] == 8 if layout in {"patients", "folders"} else info.split["n_test"] > 0
    report = "--report" if layout == "seven" else "--no-report"  # a report takes seconds
    code, out, err = call(monkeypatch, capsys, "confirm", "tiny", "--top", 1, "--seeds", 1, "--jobs", 1, report)
    assert (code, "Held-out test set" in out, "QWK" in out) == (0, True, False), out + err
    if layout == "seven":
        text = (tmp_path / "results/tiny/report/report.md").read_text()
        for word in ("QWK", "kappa", "etinopathy", "eferable", "grade"):
            assert word not in text.replace("upgrade", ""), word

    code, out, err = call(monkeypatch, capsys, "export", "tiny", "--out", "model")
    assert code == 0, err
    card = (tmp_path / "model" / "README.md").read_text()
    assert all(f"recall of class {name} |" in card for name in classes)
    assert "kappa" not in card

    images = sorted((tmp_path / "data").rglob("*.png"))[:3]
    code, out, err = call(monkeypatch, capsys, "predict", "model", *images, "--csv", "predicted.csv")
    assert code == 0, err
    with (tmp_path / "predicted.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "class", *(f"p {name}" for name in classes)]
    assert {row[1] for row in rows} <= set(classes)

    if layout == "x-rays":
        check_refusals(tmp_path, monkeypatch, capsys, hold_out)


def check_refusals(folder, monkeypatch, capsys, hold_out):
    """A study keeps its classes and its test part when it is resumed, and refuses what needs ordered classes."""
    code, out, err = call(monkeypatch, capsys, "run", "--data", "data", *SEARCH, "--jobs", 1, "--no-report")
    assert code == 0, out + err  # --test-fraction and its images are those of the first run
    for options, fault in (
        (("--study", "other", "--metric", "qwk"), "--metric qwk needs ordered classes.*: add --ordinal"),
        (("--study", "other", "--space", "losses"), "loss.kind coral and loss.kind corn.* need ordered classes"),
        (("--ordinal",), "--ordinal needs the order of the classes normal, pneumonia"),
        (("--test-fraction", 0.5), r"another --test-fraction \(0.2, seed 0 there, 0.5, seed 0 here\)"),
    ):
        code, out, err = call(monkeypatch, capsys, "run", "--data", "data", *SEARCH, *options)
        assert code == 2
        assert len(err.splitlines()) == 1
        assert re.search(fault, err), err
    recorded = json.loads(read_study("tiny").location.open().user_attrs["cohort"])
    assert recorded["test_part"] == {"fraction": 0.2, "seed": 0}
