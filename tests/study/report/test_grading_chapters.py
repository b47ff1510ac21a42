"""The chapters on grading and on suspect labels, from stored predictions to the page."""

import base64
import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState
from PIL import Image
from scipy import special

from drft.data import open_dataset
from study.analysis import summarize
from study.cli.report import command
from study.report.chapters import write_chapters
from study.report.label_decisions import with_decisions
from study.report.page import html_page
from study.report.thumbnails import NO_THUMBNAILS, Thumbnails, thumbnails
from study.report.write import write_report
from study.results.study_results import read_study

COUNTS = (12, 4, 12, 7, 5)
GRADES = np.repeat(np.arange(5), COUNTS)
WRONG = 3
"""The image whose given grade is 2 while all trials see grade 0."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A label table of 40 images."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "images").mkdir()
    for n in range(len(GRADES)):
        Image.new("RGB", (48, 48), (200, 4 * n, 40)).save(folder / "images" / f"p{n}.png")
    given = np.where(np.arange(len(GRADES)) == WRONG, 2, GRADES)
    lines = (f"p{n},{grade}" for n, grade in enumerate(given))
    (folder / "labels.csv").write_text("\n".join(["image,grade", *lines, ""]))
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def judged(make_study, images, tmp_path_factory):
    """A results folder with six completed trials that say of every image what it is."""
    results, dataset = tmp_path_factory.mktemp("results"), open_dataset(str(images))
    told = {"name": "labels", "fingerprint": dataset.fingerprint, "rendered": False, "notes": [], "n": len(dataset)}
    told["grades"] = list(dataset.grades)
    split = {"n_train": 0, "n_validation": len(dataset), "n_test": 0, "seed": 0, "validation_fraction": 1.0}
    attributes = {"source": str(images), "cohort": json.dumps(told), "split": json.dumps(split)}
    make_study(results, "judged", [TrialState.COMPLETE] * 6, **attributes)
    for number in range(6):
        store(results / "judged" / "trials" / f"{number:04d}", dataset, number)
    return results


def store(folder, dataset, number):
    logits = np.random.default_rng(number).normal(0, 0.5, (40, len(dataset), 5)) + 4 * np.eye(5)[GRADES]
    folder.mkdir(parents=True)
    np.savez(
        folder / "predictions.npz",
        validation_ids=np.array([image.id for image in dataset.images], dtype=np.str_),
        validation_grades=dataset.labels(),
        validation_probabilities=special.softmax(logits, axis=2).astype(np.float16),
    )


@pytest.fixture(scope="module")
def read(judged):
    return read_study("judged", judged)


@pytest.fixture(scope="module")
def report(judged):
    """The folder of the report, written once."""
    return write_report("judged", judged).parent


def test_statistics_come_from_the_stored_predictions(read):
    found = summarize(read)
    assert found.grading.n == found.calibration.n == 40
    assert found.grading.accuracy.value == 39 / 40
    assert [one.id for one in found.suspects.suspects] == [f"train/p{WRONG}"]
    assert (found.suspects.n_trials, found.suspects.suspects[0].agree) == (6, 6)


def test_page_shows_the_suspect_with_its_image(report):
    page = (report / "index.html").read_text()
    assert "given moderate" in page
    assert "6 of 6 trials say no DR" in page
    _, encoded = page.split("data:image/webp;base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(encoded.split('"')[0]))).convert("RGB")
    assert shown.size == (176, 176)
    assert shown.getpixel((88, 88)) == pytest.approx((200, 4 * WRONG, 40), abs=12)
    assert f'alt="Image train/p{WRONG}"' in encoded
    assert len(page.encode()) < 8_000_000


def test_table_of_suspects_is_beside_the_page(report):
    with (report / "suspects.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["grade"], row["proposed"]) == (f"train/p{WRONG}", "2", "0")
    assert (row["agree"], row["trials"]) == ("6", "6")
    assert float(row["given_probability"]) < 0.1 < float(row["proposed_probability"])


def test_the_table_of_suspects_corrects_the_labels_it_came_from(report, images, tmp_path):
    with (report / "suspects.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["decision"] == ""
    decided = tmp_path / "suspects.csv"
    decided.write_text((report / "suspects.csv").read_text().replace(",\n", ",relabel\n"))
    dataset = open_dataset(str(images), options={"exclude": str(decided), "relabel": str(decided)})
    assert dataset.images[WRONG].grade == 0
    assert [one.images for one in dataset.corrections] == [0, 1]


def test_a_new_report_keeps_what_was_decided(tmp_path):
    suspects = pd.DataFrame({"id": ["a", "b"], "proposed": [1, 2], "agree": [5, 6]})
    file = tmp_path / "suspects.csv"
    with_decisions(suspects, file).to_csv(file, index=False)
    file.write_text("id;proposed;agree;decision\na;1;4;\nb;3;4;relabel\nc;0;4;exclude\n")

    kept = with_decisions(suspects, file).astype(str)

    assert kept["id"].tolist() == ["a", "b", "c"]
    assert kept["proposed"].tolist() == ["1", "3", "0"]
    assert kept["agree"].tolist() == ["5", "6", "4"]
    assert kept["decision"].tolist() == ["", "relabel", "exclude"]


def test_summary_and_markdown_hold_the_same(report):
    told = json.loads((report / "summary.json").read_text())["statistics"]
    assert told["grading"]["confusion"][2] == [1, 0, 12, 0, 0]
    assert told["referable"]["optimistic"] is True
    assert told["suspects"]["suspects"][0]["id"] == f"train/p{WRONG}"
    text = (report / "report.md").read_text()
    assert "| recall, mild | 100.0% | 39.8% to 100.0% | 4 | Clopper and Pearson |" in text
    assert f"- **train/p{WRONG}**: given moderate" in text


def test_page_without_images_names_ids_and_the_reason(read):
    statistics = summarize(read)
    page = html_page(read, statistics, write_chapters(read, statistics), Thumbnails({}, "They are elsewhere."))
    assert "data:image/webp" not in page
    assert f"<b>train/p{WRONG}</b>" in page
    assert "They are elsewhere." in page


@pytest.mark.parametrize(("option", "images"), [("--no-images", False), ("--images", True)])
def test_command_passes_on_whether_images_are_wanted(option, images, monkeypatch):
    asked = {}
    monkeypatch.setattr("study.report.write.write_report", lambda *arguments, **options: asked.update(options))
    CliRunner().invoke(command, ["judged", option], catch_exceptions=False)
    assert asked == {"images": images}


def test_thumbnails_are_of_the_images_asked_for(read):
    found = thumbnails(read.info, ["train/p1", "train/p2"])
    assert list(found.images) == ["train/p1", "train/p2"]
    assert found.missing == ""


def test_no_image_wanted_opens_no_data(read):
    assert thumbnails(replace(read.info, source="/nowhere"), []) == NO_THUMBNAILS


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("/nowhere/labels.csv", "The images are not shown: no data source"),
        ("idrid", "The images are not shown: the data source idrid is a download"),
    ],
)
def test_data_that_cannot_be_opened_are_said_in_one_line(read, monkeypatch, tmp_path, source, reason):
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path))
    found = thumbnails(replace(read.info, source=source), ["train/p1"])
    assert not found.images
    assert found.missing.startswith(reason)
    assert "\n" not in found.missing


def test_other_data_in_the_same_place_are_not_shown(read):
    found = thumbnails(replace(read.info, dataset={"fingerprint": "other"}), ["train/p1"])
    assert not found.images
    assert "now holds other data than the study was run on" in found.missing


def test_trials_without_predictions_are_told_with_the_reason(demo):
    found = summarize(read_study("demo", demo))
    assert found.grading == found.referable == found.calibration
    assert "holds no predictions" in found.grading.reason
    assert found.suspects.reason == "no trial with stored predictions has completed"
