"""The chapters on grading and on suspect labels, from stored predictions to the page."""

import base64
import csv
import io
import json
import re
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
"""The image whose given grade is 2 while all trials predict grade 0."""

WEBP = re.compile(r'(<img src="data:image/webp;base64,([^"]+)"[^>]*>)')


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A label table of 40 images."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "images").mkdir()
    for n in range(len(GRADES)):
        Image.new("RGB", (48, 48), (200, 4 * n, 40)).save(folder / "images" / f"p{n}.png")
    given = np.where(np.arange(len(GRADES)) == WRONG, 2, GRADES)
    lines = (f"p{n},{grade}" for n, grade in enumerate(given))
    (folder / "labels.csv").write_text("\n".join(["image,level", *lines, ""]))
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def judged(make_study, images, tmp_path_factory):
    """A results folder with six completed trials that predict the true grade of every image."""
    results, dataset = tmp_path_factory.mktemp("results"), open_dataset(str(images))
    metadata = {"name": "labels", "fingerprint": dataset.fingerprint, "rendered": False, "notes": [], "n": len(dataset)}
    metadata["grades"] = list(dataset.grades)
    split = {"n_train": 0, "n_validation": len(dataset), "n_test": 0, "seed": 0, "validation_fraction": 1.0}
    attributes = {"source": str(images), "cohort": json.dumps(metadata), "split": json.dumps(split)}
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
    statistics = summarize(read)
    assert statistics.grading.n == statistics.calibration.n == 40
    assert statistics.grading.accuracy.value == 39 / 40
    assert [suspect.id for suspect in statistics.suspects.suspects] == [f"train/p{WRONG}"]
    assert (statistics.suspects.n_trials, statistics.suspects.suspects[0].agree) == (6, 6)


def test_page_shows_the_suspect_label_with_its_image(report):
    page = (report / "index.html").read_text()
    assert "given moderate" in page
    assert "6 of 6 trials predict no DR" in page
    ((image, encoded),) = WEBP.findall(page)
    shown = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    assert shown.size == (176, 176)
    assert shown.getpixel((88, 88)) == pytest.approx((200, 4 * WRONG, 40), abs=12)
    assert f'alt="Image train/p{WRONG}"' in image
    assert len(page.encode()) < 8_000_000


def test_table_of_suspect_labels_is_written(report):
    with (report / "suspects.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["grade"], row["proposed"]) == (f"train/p{WRONG}", "2", "0")
    assert (row["agree"], row["trials"]) == ("6", "6")
    assert float(row["given_probability"]) < 0.1 < float(row["proposed_probability"])


def test_decided_table_corrects_the_labels(report, images, tmp_path):
    with (report / "suspects.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["decision"] == ""
    decided = tmp_path / "suspects.csv"
    decided.write_text((report / "suspects.csv").read_text().replace(",\n", ",relabel\n"))
    dataset = open_dataset(str(images), options={"exclude": str(decided), "relabel": str(decided)})
    assert dataset.images[WRONG].grade == 0
    assert [correction.images for correction in dataset.corrections] == [0, 1]


def test_a_new_report_keeps_decisions(tmp_path):
    suspects = pd.DataFrame({"id": ["a", "b"], "proposed": [1, 2], "agree": [5, 6]})
    file = tmp_path / "suspects.csv"
    with_decisions(suspects, [file]).to_csv(file, index=False)
    file.write_text("id;proposed;agree;decision\na;1;4;\nb;3;4;relabel\nc;0;4;exclude\n")

    table = with_decisions(suspects, [file]).astype(str)

    assert table["id"].tolist() == ["a", "b", "c"]
    assert table["proposed"].tolist() == ["1", "3", "0"]
    assert table["agree"].tolist() == ["5", "6", "4"]
    assert table["decision"].tolist() == ["", "relabel", "exclude"]


def test_decisions_in_the_named_folder_count_before_those_of_the_usual_report(tmp_path):
    suspects = pd.DataFrame({"id": ["a", "b"], "proposed": [1, 2], "agree": [5, 6]})
    usual, own = tmp_path / "usual.csv", tmp_path / "own.csv"
    usual.write_text("id,proposed,agree,decision\na,1,5,keep\nb,2,6,keep\n")
    own.write_text("id,proposed,agree,decision\na,1,5,\nb,3,6,relabel\n")
    table = with_decisions(suspects, [usual, own]).astype(str)
    assert table["decision"].tolist() == ["keep", "relabel"]
    assert table["proposed"].tolist() == ["1", "3"]


def test_a_new_report_in_a_named_folder_keeps_the_decisions_there(judged, tmp_path):
    suspects = write_report("judged", judged, images=False, out=tmp_path).with_name("suspects.csv")
    suspects.write_text(suspects.read_text().replace(",\n", ",relabel\n"))
    write_report("judged", judged, images=False, out=tmp_path)
    assert suspects.read_text().endswith(",relabel\n")


def test_summary_and_markdown_hold_the_same(report):
    statistics = json.loads((report / "summary.json").read_text())["statistics"]
    assert statistics["grading"]["confusion"][2] == [1, 0, 12, 0, 0]
    assert statistics["referable"]["optimistic"] is True
    assert statistics["suspects"]["suspects"][0]["id"] == f"train/p{WRONG}"
    text = (report / "report.md").read_text()
    assert "| recall, mild | 100.0% | 39.8% to 100.0% | 4 | Clopper and Pearson |" in text
    assert f"- **train/p{WRONG}**: given moderate" in text


def test_page_without_images_lists_ids_and_the_reason(read):
    statistics = summarize(read)
    page = html_page(read, statistics, write_chapters(read, statistics), Thumbnails({}, "They are elsewhere."))
    assert not WEBP.search(page)
    assert f"<b>train/p{WRONG}</b>" in page
    assert "They are elsewhere." in page


@pytest.mark.parametrize(("option", "images"), [("--no-images", False), ("--images", True)])
def test_command_passes_the_images_option(option, images, monkeypatch):
    given = {}
    monkeypatch.setattr("study.report.write.write_report", lambda *arguments, **options: given.update(options))
    CliRunner().invoke(command, ["judged", option], catch_exceptions=False)
    assert given == {"images": images, "out": None}


def test_thumbnails_are_of_the_requested_images(read):
    small = thumbnails(read.info, ["train/p1", "train/p2"])
    assert list(small.images) == ["train/p1", "train/p2"]
    assert small.missing == ""


def test_no_requested_image_opens_no_data(read):
    assert thumbnails(replace(read.info, source="/nowhere"), []) == NO_THUMBNAILS


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("/nowhere/labels.csv", "The images are not shown: no data source"),
        ("idrid", "The images are not shown: the data source idrid would have to be downloaded"),
    ],
)
def test_data_that_cannot_be_opened_give_a_reason_in_one_line(read, monkeypatch, tmp_path, source, reason):
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path))
    small = thumbnails(replace(read.info, source=source), ["train/p1"])
    assert not small.images
    assert small.missing.startswith(reason)
    assert "\n" not in small.missing


def test_other_data_at_the_same_path_are_not_shown(read):
    small = thumbnails(replace(read.info, dataset={"fingerprint": "other"}), ["train/p1"])
    assert not small.images
    assert "now holds other data than the study used" in small.missing


def test_missing_predictions_give_a_reason(demo):
    statistics = summarize(read_study("demo", demo))
    assert statistics.grading == statistics.referable == statistics.calibration
    assert "holds no predictions" in statistics.grading.reason
    assert statistics.suspects.reason == "no trial with stored predictions has completed"
