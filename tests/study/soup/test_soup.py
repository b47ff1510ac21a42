"""The real command, tiny: three trials of one backbone put together, judged, kept, and judged on the test set once."""

import csv
import io
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import safetensors.torch
import torch
from optuna.distributions import IntDistribution
from rich.console import Console

from drft.config.trial_config import parse_config, with_values
from drft.data import open_dataset
from drft.errors import StudyError
from drft.models.backbone import build_model
from drft.models.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from drft.training.trial import run_trial
from study.analysis.summary import score_mixtures, score_test_set
from study.callbacks.progress_reporter import PlainProgress
from study.cli import main
from study.confirm.run import confirm_study
from study.report.chapters import test_set
from study.report.chapters.parts import Table
from study.report.json_csv import plain
from study.results.confirmation_plan import BASELINE, PLANNED, Candidate, ConfirmationPlan, SeedAndSplit
from study.results.study_folder import CHECKPOINT, StudyFolder
from study.results.study_results import read_study
from study.results.test_set import HeldOutTestSet, confirmation_location, read_confirmation
from study.setup.options import RunOptions
from study.soup.average import average, interpolate
from study.soup.candidates import EnsembleRecipe
from study.soup.evaluation import Evaluator
from study.soup.ingredients import Ingredient, find_ingredients
from study.soup.report import verdict
from study.soup.run import make_soups
from study.storage.open import open_storage
from study.tuner.stopping import StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner
from tests.helpers.fake_training import scripted
from tests.helpers.small_study import InProcess, metadata

DEPTHS = (1, 2, 5)


def config_for(weights, depth=1, seed=0):
    return parse_config(
        {
            "seed": seed,
            "image_size": 32,
            "depth": depth,
            "split": {"validation_fraction": 0.4},
            "backbone": {"name": "test_resnet", "weights": str(weights), "normalization": "imagenet"},
            "head_phase": {"epochs": 1},
            "depth_phase": {"epochs": 1, "lr": 0.01},
        }
    )


def lay_out(folder, dataset):
    """Write the table of a data set, and weights to begin with."""
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = [(one.path.name, one.grade, one.origin) for one in dataset.images]
        csv.writer(file).writerows([("image", "grade", "split"), *rows])
    weights = folder / "pretrained.safetensors"
    safetensors.torch.save_file(build_model(config_for("none"), seed=7).net.state_dict(), weights)
    return weights


@pytest.fixture(scope="module")
def results(tiny_dataset, make_study, tmp_path_factory):
    """A results folder with a study ``real`` of three trials with checkpoints; copy it, or change nothing."""
    place = tmp_path_factory.mktemp("results")
    weights, source = lay_out(place, tiny_dataset), str(place / "labels.csv")
    options = {"origin_column": "split", "images": str(tiny_dataset.images[0].path.parent)}
    dataset = open_dataset(source, options=options)
    attributes = {"fingerprint": dataset.fingerprint, "grades": list(dataset.grades), "rendered": False, "name": "tiny"}
    make_study(
        place, "real", states=[], source=source, source_options=json.dumps(options), cohort=json.dumps(attributes)
    )
    study = optuna.load_study(study_name="real", storage=f"sqlite:///{place / 'real' / 'study.db'}")
    folder = StudyFolder(place / "real")
    folder.trials.mkdir()
    for number, depth in enumerate(DEPTHS):
        result = run_trial(config_for(weights, depth, number), dataset)
        folder.write_trial(number, result, checkpoint=True)
        study.add_trial(told_trial(result))
    return place


def told_trial(result):
    records = {
        f"epoch:{record.step:03d}": json.dumps({name: getattr(record, name) for name in record.__dataclass_fields__})
        for record in result.records
    }
    depth = result.config.depth
    return optuna.trial.create_trial(
        value=result.best.val_accuracy,
        params={"depth": depth},
        distributions={"depth": IntDistribution(0, 5)},
        user_attrs={
            "depth": depth,
            "depth_fraction": result.depth_fraction,
            "trainable_fraction": result.trainable_fraction,
            "ending": "completed",
            "seconds": 1.0,
            **records,
        },
    )


@pytest.fixture(scope="module")
def made(results):
    """The soups of the study, and their folder."""
    return make_soups("real", results)


def test_everything_is_written_and_the_best_trial_is_as_it_was(made, results):
    soups, folder = made
    assert sorted(path.name for path in folder.iterdir()) == [CHECKPOINT, "soup.json", "soup.md"]
    told = json.loads((folder / "soup.json").read_text())
    assert [one["recipe"]["name"] for one in told["judged"]] == [one.recipe.name for one in soups.judged]
    study, best = read_study("real", results), soups.judged[0]
    number = int(study.complete["number"][0])
    assert best.recipe.trials == (number,)
    assert best.accuracy.value == pytest.approx(study.complete["val_accuracy_best"][0])
    assert best.gap.value == pytest.approx(study.complete["gap_best"][0])
    assert soups.alphas[0].validation_accuracy == best.accuracy.value
    greedy = next(one for one in soups.judged if one.recipe.name == "greedy soup")
    assert greedy.accuracy.value >= best.accuracy.value
    assert "optimistic" in (folder / "soup.md").read_text()


def test_the_kept_weights_are_a_checkpoint_that_predicts(made, results, tiny_dataset, monkeypatch, capsys):
    soups, folder = made
    chosen = next(one for one in soups.judged if one.recipe.name == soups.chosen)
    paths = [str(one.path) for one in tiny_dataset.images]
    monkeypatch.setattr(sys, "argv", ["drft-study", "predict", str(folder / CHECKPOINT), *paths])
    main()
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    grades = {line[0]: int(line[1]) for line in table if len(line) > 2 and line[1].isdigit()}
    stored = read_study("real", results).predictions(0)
    right = [grades[name.split("/")[-1]] == grade for name, grade in zip(stored.ids, stored.grades, strict=True)]
    assert np.mean(right) == pytest.approx(chosen.accuracy.value, abs=0.06)  # one image, by rounding


def test_the_command_prints_tables_and_what_they_say(results, made, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["drft-study", "soup", "real", "--results", str(results), "--top", "2"])
    main()
    said = capsys.readouterr().out
    assert "greedy soup" in said
    assert "Kept as weights is the" in said
    assert len(json.loads((results / "real" / "soup" / "soup.json").read_text())["trials"]) == 2


def test_mixtures_of_trials_with_folds_say_which_fold_judges_them(made):
    soups, _ = made
    assert soups.folds is None
    assert not any("fold" in line for line in verdict(soups))
    assert any("4 folds" in line and "the last one" in line for line in verdict(soups._replace(folds=4)))


def test_trials_that_cannot_be_averaged_are_left_out_with_the_reason(results, tmp_path):
    study = read_study("real", results)
    order = [int(number) for number in study.complete["number"]]
    path = results / "real" / "trials" / f"{order[-1]:04d}" / CHECKPOINT
    whole = path.read_bytes()
    stored = read_checkpoint(path)
    state = {name: tensor.numpy() for name, tensor in stored.tensors.items()}
    try:
        save_checkpoint(path, state, with_values(stored.config, {"image_size": 48}), stored.classes)
        found, left_out = find_ingredients(study, 3)
        assert [one.trial for one in found] == order[:2]
        assert left_out == [(order[-1], f"its image_size is 48, not 32 as that of trial {order[0]}")]
        path.unlink()
        assert "was not kept" in find_ingredients(study, 3)[1][0].reason
        with pytest.raises(StudyError, match="has 1 completed trials that can be put together, it takes two"):
            find_ingredients(study, 1)
    finally:
        path.write_bytes(whole)


def test_random_weights_have_nothing_in_common(make_study, tmp_path):
    make_study(tmp_path, "random", states=[optuna.trial.TrialState.COMPLETE])
    study = read_study("random", tmp_path)
    path = tmp_path / "random" / "trials" / "0000" / CHECKPOINT
    path.parent.mkdir(parents=True)
    save_checkpoint(path, {"fc.bias": np.zeros(5, np.float32)}, config_for("none"), 5)
    with pytest.raises(StudyError, match="began from random weights"):
        find_ingredients(study, 2)


PRETRAINED = {"a": torch.zeros(2), "head": torch.zeros(2), "count": torch.tensor(0)}


def test_an_average_takes_what_a_state_does_not_name_as_pretrained():
    mixed = average([{"a": torch.ones(2), "count": torch.tensor(4)}, {"head": torch.full((2,), 6.0)}], PRETRAINED)
    assert mixed["a"].tolist() == [0.5, 0.5]
    assert mixed["head"].tolist() == [3, 3]
    assert mixed["count"] == 4


@pytest.mark.parametrize(("alpha", "value"), [(0.0, 0.0), (0.25, 1.0), (1.0, 4.0)])
def test_interpolation_moves_the_backbone_and_leaves_the_head(alpha, value):
    tuned = {"a": torch.full((2,), 4.0), "head": torch.full((2,), 6.0)}
    mixed = interpolate(tuned, PRETRAINED, alpha, {"head"})
    assert mixed["a"].tolist() == [value, value]
    assert mixed["head"].tolist() == [6, 6]


def test_a_kept_soup_differs_from_its_parts_and_loads(made, results):
    model, config = load_checkpoint(made[1] / CHECKPOINT)
    assert config.image_size == 32
    assert all(torch.isfinite(tensor).all() for tensor in model.net.state_dict().values())


@pytest.fixture
def confirmed(results, tmp_path):
    """A copy of the study whose confirmation is over, but for the mixtures."""
    place = tmp_path / "results"
    shutil.copytree(results, place)
    study = read_study("real", place)
    best = int(study.complete["number"][0])
    candidates = (
        Candidate(BASELINE, None, None, scripted(depth=1)),
        Candidate(f"trial {best}", best, 0.4, scripted(depth=3)),
    )
    plan = ConfirmationPlan("real", 1, 1, (SeedAndSplit(1, 2),), candidates)
    where = confirmation_location(study.location)
    told = metadata(
        name=where.name, space=plan.text, space_fingerprint=plan.fingerprint, sampler=PLANNED,
        base_config=plan.config(0), trials_wanted=plan.size,
    )  # fmt: skip
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    scheduler = TrialScheduler(told, plan, open_storage(where.url), sampler, pruner)
    folder = StudyFolder(where.folder)
    folder.write_study(plan.text, {})
    for attributes in plan.queue(()):
        scheduler.enqueue(**attributes)
    Tuner(
        scheduler,
        InProcess(),
        folder,
        PlainProgress(Console(quiet=True)),
        StoppingCriterion(plan.size, queued_only=True),
    ).run()
    return place


def confirm(place):
    """Go on with the confirmation of a copy, and return what is said."""
    console = Console(file=io.StringIO(), width=200)
    confirm_study("real", RunOptions(results=place, report=False), top=1, seeds=1, console=console)
    return console.file.getvalue()


def test_mixtures_are_judged_on_the_test_images_once(made, confirmed):
    assert score_mixtures(read_study("real", confirmed)) is None
    said = confirm(confirmed)
    assert "Mixtures of the sweep's best trials, on 12 test images:" in said
    kept = confirmed / "real" / "confirm" / "soups.npz"
    before, told = kept.stat().st_mtime_ns, json.loads((confirmed / "real" / "confirm" / "summary.json").read_text())
    study = read_study("real", confirmed)
    found = score_mixtures(study)
    assert told["mixtures"] == plain(found)
    assert [score.name for score in found.scores] == [one.recipe.name for one in made[0].judged]

    number = found.scores[0].trials[0]
    opened = HeldOutTestSet(study, read_confirmation(study))
    step = int(study.complete["best_step"][0])
    recorded = opened.searched(number).probabilities[step - 1]
    assert np.allclose(opened.ensembles()[1].probabilities[0], recorded, atol=2e-3)
    statistics = SimpleNamespace(test=score_test_set(study), swept=None, mixtures=found)
    titles = [part.title for part in test_set.chapter(study, statistics).parts if isinstance(part, Table)]
    assert titles[-1] == "Mixtures of the best trials on the test set"

    assert "Mixtures of the sweep's best trials" in confirm(confirmed)
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(StudyError, match="which are opened once"):
        make_soups("real", confirmed)


def test_mixtures_whose_parts_are_gone_are_named(made, confirmed):
    best = made[0].trials[0]
    (confirmed / "real" / "trials" / f"{best:04d}" / CHECKPOINT).unlink()
    with pytest.raises(StudyError, match=f"need the checkpoints of trials {best}, now gone"):
        confirm(confirmed)
    assert not (confirmed / "real" / "confirm" / "soups.npz").exists()


def test_a_trial_by_itself_grades_as_it_did_whatever_its_link_learned(tiny_dataset):
    config = with_values(config_for("none", 2), {"loss.kind": "expected_grade"})
    result = run_trial(config, tiny_dataset)
    state = {name: torch.from_numpy(array) for name, array in result.best_state.items()}
    evaluator = Evaluator(tiny_dataset, [Ingredient(0, config, state), Ingredient(1, config, state)])
    evaluator.probabilities(EnsembleRecipe("soup", "weights", (0, 1)), "validation")  # leaves nothing behind
    said = evaluator.probabilities(EnsembleRecipe("best trial", "weights", (0,)), "validation")
    assert np.allclose(said, result.predictions["validation"].probabilities[result.best.step - 1], atol=2e-3)
