"""The command ``drft-study soup`` on three trials of one backbone."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch

from drft.data import GRADES
from drft.models.checkpoint import load_checkpoint
from study.cli import main
from study.results.study_folder import CHECKPOINT
from study.results.study_results import read_study
from study.soup.report import verdict


def test_all_files_are_written_and_the_best_trial_has_its_recorded_scores(soups, trained_study):
    report, folder = soups
    assert sorted(path.name for path in folder.iterdir()) == [CHECKPOINT, "soup.json", "soup.md"]
    content = json.loads((folder / "soup.json").read_text())
    assert [scored["recipe"]["name"] for scored in content["judged"]] == [
        scored.recipe.name for scored in report.judged
    ]
    study, best = read_study("real", trained_study), report.judged[0]
    number = int(study.complete["number"][0])
    assert best.recipe.trials == (number,)
    assert best.accuracy.value == pytest.approx(study.complete["val_accuracy_best"][0])
    assert best.gap.value == pytest.approx(study.complete["gap_best"][0])
    assert report.alphas[0].validation_accuracy == best.accuracy.value
    greedy = next(scored for scored in report.judged if scored.recipe.name == "greedy soup")
    assert greedy.accuracy.value >= best.accuracy.value
    assert "optimistic" in (folder / "soup.md").read_text()


def test_the_stored_weights_are_a_checkpoint_that_predicts(soups, trained_study, tiny_dataset, monkeypatch, capsys):
    report, folder = soups
    chosen = next(scored for scored in report.judged if scored.recipe.name == report.chosen)
    paths = [str(image.path) for image in tiny_dataset.images]
    monkeypatch.setattr(sys, "argv", ["drft-study", "predict", str(folder / CHECKPOINT), *paths])
    main()
    _, *lines = capsys.readouterr().out.splitlines()
    cells = [re.split(r"\s{2,}", line) for line in lines]  # the name of a class may have a blank
    grades = {line[0]: GRADES.index(line[1]) for line in cells}
    stored = read_study("real", trained_study).predictions(0)
    correct = [grades[name.split("/")[-1]] == grade for name, grade in zip(stored.ids, stored.grades, strict=True)]
    assert np.mean(correct) == pytest.approx(chosen.accuracy.value, abs=0.06)  # one image may differ by rounding


def test_the_stored_weights_load_and_are_finite(soups):
    model, config = load_checkpoint(soups[1] / CHECKPOINT)
    assert config.image_size == 32
    assert all(torch.isfinite(tensor).all() for tensor in model.net.state_dict().values())


def test_the_command_prints_a_table_for_80_columns_and_conclusions(trained_study, tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    shutil.copytree(trained_study, results)
    monkeypatch.setattr(sys, "argv", ["drft-study", "soup", "real", "--results", str(results), "--top", "2"])
    main()
    output = capsys.readouterr().out
    table, _, _ = output.partition("\n\n")
    assert len(table.splitlines()) == 7  # a heading and six models
    assert max(map(len, table.splitlines())) <= 72  # a terminal adds margins
    assert "greedy soup" in table
    assert "Stored weights: " in output
    assert len(json.loads((results / "real" / "soup" / "soup.json").read_text())["trials"]) == 2


def test_for_trials_with_folds_the_verdict_names_the_fold_that_is_scored(soups):
    report, _ = soups
    assert report.folds is None
    assert not any("fold" in line for line in verdict(report))
    assert any("4 folds" in line and "the last one" in line for line in verdict(report._replace(folds=4)))
