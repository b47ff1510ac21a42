"""The metric ``nll`` is minimized: its score is the negative of the displayed value."""

import dataclasses
import io
from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import TrialState
from rich.console import Console

from drft.training.records import best_record
from study.analysis.early import early_ranking
from study.callbacks.progress_reporter import PlainProgress
from study.dashboard.artifacts import TrialFolder, _best_step
from study.executors import Job
from study.report.provenance import provenance
from study.results.metric_names import epoch_scores, score_text
from study.results.progress import RankedTrial, StudyProgress
from study.results.study_results import read_study
from tests.helpers.fake_training import fake_record, fake_result, scripted

CONFIG = scripted(metric="nll")
LOSSES = (1.4, 0.9, 1.1)


def records():
    made = [fake_record(CONFIG, step, accuracy=0.5) for step in (1, 2, 3)]
    return [dataclasses.replace(record, val_loss=loss) for record, loss in zip(made, LOSSES, strict=True)]


def test_the_best_epoch_has_the_lowest_loss(tmp_path):
    best = best_record(records(), "nll")
    assert (best.step, best.score("nll")) == (2, -0.9)
    epochs = pd.DataFrame({"step": [1, 2, 3], "val_loss": LOSSES})
    assert epoch_scores(epochs, "nll").tolist() == [-loss for loss in LOSSES]
    assert _best_step(TrialFolder(tmp_path, 0, "nll", ()), epochs) == 2


def test_progress_lines_show_the_loss_and_not_its_negative():
    console = Console(file=io.StringIO(), width=200)
    progress = StudyProgress(complete=1, best=RankedTrial(7, -0.9), metric="nll")
    reporter = PlainProgress(console)
    reporter.on_study_begin(StudyProgress(), 1)
    reporter.on_trial_end(Job(7, CONFIG), fake_result(CONFIG, records(), "completed"), progress)
    output = console.file.getvalue()
    assert "best nll 0.900 at epoch 2 of 3" in output
    assert "best 0.900 (trial 7)" in output
    assert score_text("qwk", -0.25) == "qwk -0.250"


def test_early_ranks_follow_the_loss():
    numbers = range(12)
    complete = pd.DataFrame({"number": numbers, "depth": 1, "control": False, "state": "COMPLETE"})
    rows = [(n, step, 2 - n / 12 - step / 100) for n in numbers for step in (1, 2, 3)]
    epochs = pd.DataFrame(rows, columns=["trial", "step", "val_loss"])
    base = {"head_phase": {"epochs": 1}, "depth_phase": {"epochs": 2}}
    look = early_ranking(complete, complete, epochs, base, "nll").everyone.looks[0]
    assert look.tau.value == pytest.approx(1)


def test_a_study_that_minimizes_the_loss_is_scored_by_it(make_study, tmp_path: Path):
    make_study(tmp_path, "likely", states=[TrialState.COMPLETE] * 3, metric="nll")
    results = read_study("likely", tmp_path)
    lowest = results.epochs.groupby("trial")["val_loss"].min()
    assert results.trials["score"].tolist() == pytest.approx((-lowest).tolist())
    assert dict(provenance(results))["Searched with"].endswith("metric nll (minimized: its negative is the score)")
