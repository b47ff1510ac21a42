"""The chapters on selection and noise, of a study with stored predictions."""

import json

import numpy as np
import pytest
from optuna.trial import TrialState

from study.analysis import Withheld, summarize
from study.report.chapters import write_chapters
from study.report.json_csv import plain
from study.report.write import write_report
from study.results.study_results import read_study

IMAGES = 83


def store_predictions(read):
    """Store predictions of every completed trial that score like its records."""
    for number in read.complete["number"].astype(int):
        rng = np.random.default_rng(number)
        accuracies = read.epochs.loc[read.epochs["trial"] == number, "val_accuracy"]
        grades = np.arange(IMAGES) % 5
        probabilities = np.zeros((len(accuracies), IMAGES, 5), dtype=np.float16)
        for step, accuracy in enumerate(accuracies):
            right = rng.permutation(IMAGES) < round(accuracy * IMAGES)
            probabilities[step, np.arange(IMAGES), np.where(right, grades, (grades + 1) % 5)] = 1
        write_predictions(read, number, grades, probabilities)


def write_predictions(read, number, grades, probabilities):
    folder = read.info.folder / "trials" / f"{number:04d}"
    folder.mkdir(parents=True)
    np.savez(
        folder / "predictions.npz",
        validation_ids=np.array([f"train/{image}" for image in range(IMAGES)]),
        validation_grades=grades,
        validation_probabilities=probabilities.astype(np.float16),
    )


@pytest.fixture(scope="module")
def read(make_study, tmp_path_factory):
    results = make_study(tmp_path_factory.mktemp("results"), "stored", [TrialState.COMPLETE] * 24)
    store_predictions(read_study("stored", results))
    return read_study("stored", results)


@pytest.fixture(scope="module")
def statistics(read):
    return summarize(read)


@pytest.fixture(scope="module")
def likely(make_study, tmp_path_factory):
    """A study with the metric nll; the probabilities of the true grades match the recorded losses."""
    results = make_study(tmp_path_factory.mktemp("likely"), "likely", [TrialState.COMPLETE] * 12, metric="nll")
    read = read_study("likely", results)
    for number in read.complete["number"].astype(int):
        rng = np.random.default_rng(number)
        losses = read.epochs.loc[read.epochs["trial"] == number, "val_loss"].to_numpy()
        spread = rng.uniform(0.5, 1.5, (len(losses), IMAGES))
        given = np.exp(-losses[:, None] * spread / spread.mean(axis=1, keepdims=True))
        grades = np.arange(IMAGES) % 5
        probabilities = np.repeat((1 - given[..., None]) / 4, 5, axis=2)
        np.put_along_axis(probabilities, np.broadcast_to(grades, given.shape)[..., None], given[..., None], axis=2)
        write_predictions(read, number, grades, probabilities)
    return read_study("likely", results)


def test_likelihoods_are_resampled_and_shown_in_nats(likely):
    statistics = summarize(likely)
    best = likely.complete.iloc[0]
    assert statistics.corrected.observed == pytest.approx(best["score"], abs=2e-3)
    assert statistics.corrected.corrected.value < statistics.corrected.observed < 0
    assert [row.score for row in statistics.alike.compared] == pytest.approx(
        likely.complete["score"].tolist(), abs=2e-3
    )
    assert 0 < statistics.alike.critical < 3
    chapters = chapters_of(likely, statistics)
    text = chapters["selection"].parts[0].text
    assert f"{-statistics.corrected.observed:.3f} nats in validation negative log likelihood" in text
    low, high = -statistics.corrected.corrected.high, -statistics.corrected.corrected.low
    assert f"95% interval {low:.3f} to {high:.3f}" in text
    assert 0 < low < high
    (same,) = chapters["noise"].figures
    assert f"within {statistics.alike.critical:.3f} nats" in same.caption
    drawing = same.drawings["wide"]
    assert drawing.layout.yaxis.autorange == "reversed"
    assert all(value > 0 for trace in drawing.data for value in trace.y)


def chapters_of(read, statistics):
    return {chapter.id: chapter for chapter in write_chapters(read, statistics)}


def test_statistics_come_from_the_stored_predictions(read, statistics):
    best = read.complete.iloc[0]
    assert statistics.corrected.observed == pytest.approx(best["val_accuracy_best"], abs=1e-6)
    assert statistics.corrected.n_candidates == len(read.epochs)
    assert statistics.corrected.corrected.value < statistics.corrected.observed
    assert statistics.alike.compared[0].trial == best["number"]
    assert [row.score for row in statistics.alike.compared] == pytest.approx(read.complete["score"].tolist(), abs=1e-6)
    assert [step.trial for step in statistics.overtuning.path] == sorted(read.complete["number"])


def test_chapters_show_text_and_figures(read, statistics):
    chapters = chapters_of(read, statistics)
    drawn = {figure.id for chapter in chapters.values() for figure in chapter.figures if figure.drawings}
    assert {"overtuning", "alike"} <= drawn
    text, lost = chapters["selection"].parts
    assert f"selection added about {100 * statistics.corrected.optimism:.1f} points" in text.text
    assert "overtuning" in lost.caption
    (same,) = chapters["noise"].figures
    assert f"Of 24 completed trials, {len(statistics.alike.trials)} are indistinguishable from the best" in same.caption
    assert "5 points" in chapters["noise"].parts[0].text


def test_report_is_written_with_both_figures(read, statistics):
    page = write_report("stored", read.info.folder.parent)
    summary = json.loads((page.parent / "summary.json").read_text())["statistics"]
    assert summary["corrected"] == plain(statistics.corrected)
    assert summary["alike"]["critical"] == statistics.alike.critical
    assert {"overtuning.png", "alike.png"} <= {path.name for path in (page.parent / "figures").iterdir()}


def test_missing_predictions_give_a_reason(demo):
    read = read_study("demo", demo)
    statistics = summarize(read)
    withheld = statistics.corrected, statistics.overtuning, statistics.alike
    assert all(isinstance(statistic, Withheld) for statistic in withheld)
    chapters = chapters_of(read, statistics)
    assert "is not shown: the study's folder holds the predictions of 0 of" in chapters["selection"].parts[0].text
    assert not any(figure.drawings for figure in chapters["selection"].figures)
