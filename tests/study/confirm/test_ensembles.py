"""Soups and ensembles on the test images: predicted and scored once, after the confirmation."""

import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from rich.console import Console

from drft.errors import StudyError
from study.analysis.summary import score_ensembles, score_test_set
from study.callbacks.progress_reporter import PlainProgress
from study.confirm.run import confirm_study
from study.report.chapters import test_set
from study.report.chapters.parts import Table
from study.report.json_csv import plain
from study.results.confirmation_plan import BASELINE, Candidate, ConfirmationPlan, SeedAndSplit
from study.results.planned_study import PLANNED
from study.results.study_folder import StudyFolder
from study.results.study_results import read_study
from study.results.test_set import HeldOutTestSet, confirmation_location, read_confirmation
from study.setup.options import RunOptions
from study.soup.run import make_soups
from study.storage.open import open_storage
from study.tuner.stopping import StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner
from tests.helpers.fake_training import scripted
from tests.helpers.small_study import InProcess, metadata


@pytest.fixture
def results(trained_study, tmp_path):
    """A results folder with a study whose soups are made and whose confirmation lacks only their test predictions."""
    results = tmp_path / "results"
    shutil.copytree(trained_study, results)
    make_soups("real", results)
    study = read_study("real", results)
    best = int(study.complete["number"][0])
    candidates = (
        Candidate(BASELINE, None, None, scripted(depth=1)),
        Candidate(f"trial {best}", best, 0.4, scripted(depth=3)),
    )
    plan = ConfirmationPlan("real", 1, 1, (SeedAndSplit(1, 2),), candidates)
    location = confirmation_location(study.location)
    attributes = metadata(
        name=location.name, space=plan.text, space_fingerprint=plan.fingerprint, sampler=PLANNED,
        base_config=plan.config(0), trials_wanted=plan.size,
    )  # fmt: skip
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    scheduler = TrialScheduler(attributes, plan, open_storage(location.url), sampler, pruner)
    folder = StudyFolder(location.folder)
    folder.write_study(plan.text, {})
    for user_attributes in plan.queue(range(plan.size)):
        scheduler.enqueue(**user_attributes)
    criterion = StoppingCriterion(plan.size, queued_only=True)
    Tuner(scheduler, InProcess(), folder, [PlainProgress(Console(quiet=True))], criterion).run()
    return results


def confirm(results):
    """Resume the confirmation and return its output."""
    console = Console(file=io.StringIO(), width=200)
    confirm_study("real", RunOptions(results=results, report=False), top=1, seeds=1, console=console)
    return console.file.getvalue()


def test_soups_and_ensembles_are_scored_on_the_test_images_once(results):
    study = read_study("real", results)
    assert score_ensembles(study) is None
    assert "Ensembles and soups of the best trials, on 12 test images:" in confirm(results)
    folder = results / "real" / "confirm"
    written = (folder / "soups.npz").stat().st_mtime_ns
    scored = score_ensembles(study)
    assert json.loads((folder / "summary.json").read_text())["mixtures"] == plain(scored)
    judged = json.loads((results / "real" / "soup" / "soup.json").read_text())["judged"]
    assert [score.name for score in scored.scores] == [entry["recipe"]["name"] for entry in judged]

    trial, epoch = scored.scores[0].trials[0], int(study.complete["best_step"][0])
    held_out = HeldOutTestSet(study, read_confirmation(study))
    recorded = held_out.searched(trial).probabilities[epoch - 1]
    assert np.allclose(held_out.ensembles()[1].probabilities[0], recorded, atol=2e-3)
    statistics = SimpleNamespace(promise_on_test=None, test=score_test_set(study), swept=None, mixtures=scored)
    tables = [part for part in test_set.chapter(study, statistics).parts if isinstance(part, Table)]
    assert [row[0] for row in tables[-1].rows] == [score.name for score in scored.scores]

    assert "Ensembles and soups of the best trials" in confirm(results)
    assert (folder / "soups.npz").stat().st_mtime_ns == written
    with pytest.raises(StudyError, match="already scored on the test images"):
        make_soups("real", results)


def test_missing_checkpoints_are_named(results):
    study = read_study("real", results)
    best = int(study.complete["number"][0])
    study.checkpoint_file(best).unlink()
    with pytest.raises(StudyError, match=f"need the checkpoints of trials {best}, which are missing"):
        confirm(results)
    assert not (results / "real" / "confirm" / "soups.npz").exists()
