"""Studies, checkpoints and reports that version 0.1 wrote are still read, resumed and confirmed.

The commands of version 0.1 wrote `tests/fixtures/version_0_1`: `tiny`, a study of six trials with its soup, its
confirmation and its report (without page and images), and `journal`, a study of three trials with two folds, kept
in a journal. Do not write them anew with a later version.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from drft import load_checkpoint, predict_images
from study import read_study
from tests.helpers import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RUN = ("--space", "results/tiny/space.yaml", "--data", "data/labels.csv", "--origin-column", "split", "--jobs", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A copy of what version 0.1 left behind."""
    folder = tmp_path_factory.mktemp("version") / "0.1"
    shutil.copytree(ROOT / "tests" / "fixtures" / "version_0_1", folder)
    return folder


def run(place, *args):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "study", *args]
    done = subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def figures(place):
    return json.loads((place / "results" / "tiny" / "report" / "summary.json").read_text())


def leaves(value, path=""):
    """Return the values in nested lists and objects by their path."""
    if not isinstance(value, dict | list):
        return {path: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: leaf for name, part in parts for key, leaf in leaves(part, f"{path}/{name}").items()}


def test_its_status_is_told(place):
    assert "6 of 6" in run(place, "status", "tiny")
    assert "3 of 3" in run(place, "status", "journal", "--storage", "results/study.journal")


def test_its_trials_are_read_as_it_read_them(place):
    before = pd.read_csv(place / "results" / "tiny" / "report" / "trials.csv")
    study = read_study("tiny", results=place / "results")
    assert list(study.trials["number"]) == list(before["number"])
    for column in ("depth", "best_step", "val_accuracy_best", "train_accuracy_last", "gap_last", "val_qwk_best"):
        np.testing.assert_allclose(study.trials[column].astype(float), before[column].astype(float), rtol=1e-12)


def test_its_report_is_written_with_the_same_figures(place):
    before = figures(place)
    run(place, "report", "tiny")
    after = figures(place)
    assert (place / "results" / "tiny" / "report" / "index.html").exists()
    assert after["trials"] == before["trials"]
    assert after["data"]["fingerprint"] == before["data"]["fingerprint"]
    assert after["best"]["number"] == before["best"]["number"]
    assert after["best"]["score"] == before["best"]["score"]
    expected, found = (leaves(summary["statistics"]["test"]) for summary in (before, after))
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), path


def test_its_checkpoint_predicts_what_it_stored(place):
    trial = place / "results" / "tiny" / "trials" / "0000"
    model, config = load_checkpoint(trial / "best.safetensors")
    best = int(pd.read_csv(trial / "epochs.csv")["val_accuracy"].idxmax())
    with np.load(trial / "predictions.npz") as stored:
        photos = [place / "data" / f"{name.removeprefix('train/')}.png" for name in stored["train_ids"]]
        expected = stored["train_probabilities"][best]
    predicted = predict_images(model, config.image_size, photos)
    np.testing.assert_allclose(predicted, expected, atol=2e-3)  # stored with 16 bits


def test_its_model_is_exported(place):
    run(place, "export", "tiny", "--out", "model")
    assert (place / "model" / "model.safetensors").exists()


def test_its_studies_are_compared(place):
    shutil.copytree(place / "results" / "tiny", place / "results" / "again")
    with closing(sqlite3.connect(place / "results" / "again" / "study.db")) as database:
        for (name,) in database.execute("SELECT study_name FROM studies").fetchall():
            changed = (name.replace("tiny", "again"), name)
            database.execute("UPDATE studies SET study_name = ? WHERE study_name = ?", changed)
        database.commit()
    run(place, "compare", "tiny", "again", "--out", "compared")


def test_it_is_resumed_with_what_it_ran_with(place):
    before = read_study("tiny", results=place / "results").trials
    run(place, "run", *RUN, "--study", "tiny", "--trials", "7", "--no-report", "--seed", "3")
    after = read_study("tiny", results=place / "results").trials
    assert len(after) == 7
    pd.testing.assert_frame_equal(after.iloc[:6][["number", "depth", "score"]], before[["number", "depth", "score"]])


def test_its_journal_is_resumed(place):
    storage, options = ("--storage", "results/study.journal"), ("--folds", "2", "--metric", "qwk", "--pruner", "none")
    run(place, "run", *RUN, *storage, *options, "--study", "journal", "--trials", "4", "--no-report")
    assert "4 of 4" in run(place, "status", "journal", *storage)


def test_its_opened_test_set_stays_open(place):
    said = run(place, "confirm", "tiny", "--top", "2", "--seeds", "2", "--jobs", "1")
    assert "Held-out test set: 10 " in said
    assert "no training is repeated" in said
