"""The chapters on selection and noise, over a study whose predictions are stored."""

import json

import numpy as np
import pytest
from optuna.trial import TrialState

from study.report import write_report
from study.report.chapters import write_chapters
from study.report.exports import plain
from study.report.statistics import Withheld, summarize
from study.results import read_study

IMAGES = 83


def store_predictions(read):
    """Give every completed trial predictions that score as its records say."""
    for number in read.complete["number"].astype(int):
        rng = np.random.default_rng(number)
        accuracies = read.epochs.loc[read.epochs["trial"] == number, "val_accuracy"]
        grades = np.arange(IMAGES) % 5
        probabilities = np.zeros((len(accuracies), IMAGES, 5), dtype=np.float16)
        for step, accuracy in enumerate(accuracies):
            right = rng.permutation(IMAGES) < round(accuracy * IMAGES)
            probabilities[step, np.arange(IMAGES), np.where(right, grades, (grades + 1) % 5)] = 1
        folder = read.info.folder / "trials" / f"{number:04d}"
        folder.mkdir(parents=True)
        ids = np.array([f"train/{image}" for image in range(IMAGES)])
        np.savez(
            folder / "predictions.npz",
            validation_ids=ids,
            validation_grades=grades,
            validation_probabilities=probabilities,
        )


@pytest.fixture(scope="module")
def read(make_study, tmp_path_factory):
    results = make_study(tmp_path_factory.mktemp("results"), "told", [TrialState.COMPLETE] * 24)
    store_predictions(read_study("told", results))
    return read_study("told", results)


@pytest.fixture(scope="module")
def statistics(read):
    return summarize(read)


def chapters_of(read, statistics):
    return {chapter.id: chapter for chapter in write_chapters(read, statistics)}


def test_statistics_come_from_the_stored_predictions(read, statistics):
    best = read.complete.iloc[0]
    assert statistics.corrected.observed == pytest.approx(best["val_accuracy_best"], abs=1e-6)
    assert statistics.corrected.n_candidates == len(read.epochs)
    assert statistics.corrected.corrected.value < statistics.corrected.observed
    assert statistics.alike.compared[0].trial == best["number"]
    assert [one.score for one in statistics.alike.compared] == pytest.approx(read.complete["score"].tolist(), abs=1e-6)
    assert [step.trial for step in statistics.overtuning.path] == sorted(read.complete["number"])


def test_chapters_say_the_figures_and_draw_them(read, statistics):
    chapters = chapters_of(read, statistics)
    drawn = {exhibit.id for chapter in chapters.values() for exhibit in chapter.exhibits if exhibit.drawings}
    assert {"overtuning", "alike"} <= drawn
    text, lost = chapters["selection"].parts
    assert f"selection added about {100 * statistics.corrected.optimism:.1f} points" in text.text
    assert "overtuning" in lost.caption
    (same,) = chapters["noise"].exhibits
    assert f"Of 24 completed trials, {len(statistics.alike.trials)} cannot be told from the best" in same.caption
    assert "5 points" in chapters["noise"].parts[0].text


def test_report_is_written_with_both_figures(read, statistics):
    page = write_report("told", read.info.folder.parent)
    summary = json.loads((page.parent / "summary.json").read_text())["statistics"]
    assert summary["corrected"] == plain(statistics.corrected)
    assert summary["alike"]["critical"] == statistics.alike.critical
    assert {"overtuning.png", "alike.png"} <= {path.name for path in (page.parent / "figures").iterdir()}


def test_without_all_predictions_nothing_is_said(demo):
    read = read_study("demo", demo)
    told = summarize(read)
    assert all(isinstance(one, Withheld) for one in (told.corrected, told.overtuning, told.alike))
    chapters = chapters_of(read, told)
    assert "is not said, since the study's folder holds the predictions of 0 of" in chapters["selection"].parts[0].text
    assert not any(exhibit.drawings for exhibit in chapters["selection"].exhibits)
