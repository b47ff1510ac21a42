"""The benchmark of peers: an even plan, complete records, and a careful peer that trains like drft-study."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
from rich.console import Console

from benchmarks import careful, limit, ours, peers, plain
from benchmarks.comparison import compare_best, compare_costs, compare_curves
from benchmarks.lower_bound import ComputeTimes, lower_bound, measure_compute_times
from benchmarks.peer_measurement import EpochScores, ProgramMeasurement, TrialMeasurement, run_trials
from benchmarks.plan import BenchmarkPlan, choose_trials, link_images, plan_configs, write_jpegs
from drft.config.trial_config import STRENGTHS
from drft.data import load_images
from drft.data.progress import silent
from drft.training.trial import run_trial
from study.setup.plan import prepare
from study.storage.open import close_storage, open_storage
from study.tuner.trial_scheduler import TrialScheduler

BLOCKS = 5
SHARED = {
    "backbone": {"name": "test_resnet", "weights": "none"},
    "image_size": 32,
    "batch_size": 16,
    "batch_norm": "frozen",
    "head_phase": {"epochs": 1},
    "depth_phase": {"epochs": 1, "warmup_epochs": 0.0},
}


@pytest.fixture(scope="module")
def plan(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    link_images(tiny_dataset, folder / "images", None)
    plan = BenchmarkPlan(folder=folder, trials=plan_configs(SHARED, 6), chosen=(1, 4))
    write_jpegs(plan.dataset(), plan.jpegs)
    return plan


def test_five_rounds_have_every_depth_at_every_strength_once():
    trials = plan_configs(SHARED, 5 * (BLOCKS + 1))
    pairs = Counter((config.depth, config.augmentation.strength) for config in trials)
    assert set(pairs) == {(depth, strength) for depth in range(BLOCKS + 1) for strength in STRENGTHS}
    assert set(pairs.values()) == {1}
    assert len({config.seed for config in trials}) == len(trials)


@pytest.mark.parametrize("count", [1, 2, 4, 6, 8, 13, 31])
def test_any_number_of_trials_is_even_over_depths_and_strengths(count):
    trials = plan_configs(SHARED, count)
    depths = Counter(config.depth for config in trials)
    strengths = Counter(config.augmentation.strength for config in trials)
    assert sum(depths.values()) == count
    assert max(depths.values()) - min(depths[depth] for depth in range(BLOCKS + 1)) <= 1
    assert max(strengths.values()) <= -(-count // len(STRENGTHS)) + 2
    if 2 <= count <= BLOCKS:
        assert {0, BLOCKS} <= set(depths)


@pytest.mark.parametrize("count", [1, 3, 6, 9, 12])
def test_the_peers_trials_are_even_over_depths(count):
    trials = plan_configs(SHARED, 12)
    depths = Counter(trials[number].depth for number in choose_trials(trials, count))
    assert sum(depths.values()) == count
    assert max(depths.values()) - min(depths[depth] for depth in range(BLOCKS + 1)) <= 1


def test_a_share_of_the_images_has_every_grade_in_both_origins(tiny_dataset, tmp_path):
    link_images(tiny_dataset, tmp_path / "images", 30)
    dataset = BenchmarkPlan(folder=tmp_path, trials=plan_configs(SHARED, 1), chosen=(0,)).dataset()
    assert 28 <= len(dataset) <= 34
    assert min(dataset.counts("train")) >= 2
    assert min(dataset.counts("test")) >= 2


def test_a_study_runs_the_configurations_of_the_plan(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path))
    prepared = prepare(ours.study_options(plan), silent)
    ours.enqueue(prepared, plan)
    storage = open_storage(prepared.storage)
    scheduler = TrialScheduler(prepared.metadata, prepared.space, storage, prepared.sampler, prepared.pruner)
    assert tuple(scheduler.ask().config for _ in plan.trials) == plan.trials
    close_storage(storage)


def test_a_plan_is_read_as_it_was_written(plan):
    assert BenchmarkPlan.model_validate_json(plan.write().read_text()) == plan


def test_the_plain_peer_scores_every_epoch(plan):
    trials, seconds = run_trials(plan, plain.PlainPeer(plan, loader_processes=0).train)
    assert [trial.number for trial in trials] == [1, 4]
    assert [[epoch.step for epoch in trial.epochs] for trial in trials] == [[1, 2], [1, 2]]
    assert all(0 <= trial.best <= 1 for trial in trials)
    assert seconds >= sum(trial.seconds for trial in trials)


@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
def test_the_careful_peer_trains_like_drft_study(tiny_dataset, batch_norm):
    config = plan_configs({**SHARED, "batch_norm": batch_norm}, 6)[1]
    peer = careful.CarefulPeer(tiny_dataset, np.asarray(load_images(tiny_dataset, 32)), config)
    theirs, ours = peer.train(config), run_trial(config, tiny_dataset).records
    assert [epoch.step for epoch in theirs] == [record.step for record in ours]
    for epoch, record in zip(theirs, ours, strict=True):
        assert epoch.val_loss == pytest.approx(record.val_loss, abs=1e-4)
        assert epoch.train_loss == pytest.approx(record.train_loss, abs=1e-4)
        assert epoch.val_accuracy == pytest.approx(record.val_accuracy, abs=1e-6)


def test_the_lower_bound_of_a_trial_is_its_steps_and_evaluations():
    config = next(config for config in plan_configs(SHARED, 6) if config.depth == 3)
    times = {0: ComputeTimes(step=1.0, image=0.1), 3: ComputeTimes(step=10.0, image=1.0)}
    assert lower_bound(config, times, trained=33, evaluated=50) == pytest.approx(3 + 5 + 30 + 50)


def test_compute_times_are_measured_at_every_depth_in_new_processes():
    times = measure_compute_times(plan_configs(SHARED, 1)[0], 5, workers=1, threads=1, seconds=0.0)
    assert list(times) == list(range(BLOCKS + 1))
    assert all(measured.step > 0 and measured.image > 0 for measured in times.values())


def trial(number, seconds, accuracy):
    epoch = EpochScores(step=1, train_accuracy=1, train_loss=0, val_accuracy=accuracy, val_loss=1 - accuracy)
    return TrialMeasurement(number=number, depth=number, seconds=seconds, epochs=(epoch,))


@pytest.fixture
def measured():
    own, peer = tuple(trial(number, 2.0, 0.5) for number in range(6)), (trial(1, 7, 0.5), trial(4, 7, 0.75))
    return {
        "ours": ProgramMeasurement(setup_seconds=6, seconds=6, trials=own, workers=2, threads=1),
        "careful": ProgramMeasurement(setup_seconds=6, seconds=14, trials=peer, threads=2),
    }


def test_costs_are_compared_per_trial(plan, measured):
    costs = compare_costs(plan, measured, {name: dict.fromkeys(range(6), 0.5) for name in measured})
    assert costs["ours"].seconds_per_trial == pytest.approx(2)
    assert costs["careful"].seconds_per_trial == pytest.approx(8)
    assert costs["careful"].ratio == pytest.approx(4)
    assert costs["careful"].ratio_chosen == pytest.approx(4)
    assert costs["ours"].arithmetic_share == pytest.approx(0.25)


def test_curves_are_compared_epoch_by_epoch(measured):
    agreement = compare_curves(measured["ours"], measured["careful"])
    assert (agreement.steps, agreement.equal_steps, agreement.accuracy_max) == (2, 0.5, 0.25)
    assert compare_best(measured["ours"], measured["careful"]).mean == pytest.approx(0.125)


def run_main(module, measured, tiny_dataset, tmp_path, monkeypatch, *options):
    """Run a command whose programs and compute times are already measured; return its JSON result and its page."""

    def run_program(name, plan, _console):
        program = measured[name]
        if len(program.trials) > len(plan.chosen):
            return program
        numbers = zip(plan.chosen, program.trials, strict=True)
        return program.model_copy(update={"trials": tuple(t.model_copy(update={"number": n}) for n, t in numbers)})

    times = {depth: ComputeTimes(step=0.1, image=0.01) for depth in range(BLOCKS + 1)}
    table = link_images(tiny_dataset, tmp_path / "images", None)
    monkeypatch.setattr(module, "run_program", run_program)
    monkeypatch.setattr(module, "measure_compute_times", lambda *_, **__: times)
    monkeypatch.setattr(module, "Console", lambda: Console(quiet=True))
    model = ["--backbone", "test_resnet", "--weights", "none", "--image-size", "32", "--trials", "6"]
    files = ["--data", str(table), "--out", str(tmp_path), "--label", "tiny"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *model, *files, *options])
    module.main()
    name = module.__name__.rpartition(".")[2]
    text, page = ((tmp_path / f"{name}-tiny.{suffix}").read_text() for suffix in ("json", "md"))
    assert str(tmp_path) not in text
    return json.loads(text), page


def test_peers_writes_its_measurements_without_paths(measured, tiny_dataset, tmp_path, monkeypatch):
    options = ("--peer-trials", "2", "--peers", "careful")
    result, page = run_main(peers, measured, tiny_dataset, tmp_path, monkeypatch, *options)
    assert result["standing"]["careful"]["ran"] == 2
    assert "(b) careful" in page


def test_limit_compares_a_study_with_its_lower_bound(measured, tiny_dataset, tmp_path, monkeypatch):
    result, page = run_main(limit, measured, tiny_dataset, tmp_path, monkeypatch)
    assert result["ratio"] == pytest.approx(12 / result["floor_seconds"])
    assert result["times"]["0"] == {"step": 0.1, "picture": 0.01}
    assert "| 100.00 ms | 10.000 ms |" in page
