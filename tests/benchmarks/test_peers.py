"""The benchmark of peers: an even plan, honest records, and a careful peer that trains as this program does."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
from rich.console import Console

from benchmarks import careful, ours, peers, plain
from benchmarks.comparison import agree, stand
from benchmarks.lower_bound import Times, TrialWorkload, measure, trial_floor
from benchmarks.peer_measurement import ContestantMeasurement, Epoch, TrialMeasurement, optimize
from benchmarks.plan import BenchmarkPlan, choose, lay_out_images, plan_configs, store_jpegs
from drft.config.trial_config import STRENGTHS
from drft.data import load_images
from drft.data.progress import silent
from drft.training.trial import run_trial
from study.setup.plan import prepare
from study.storage.open import open_storage
from study.tuner.trial_scheduler import TrialScheduler

BLOCKS = 5
FIXED = {
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
    lay_out_images(tiny_dataset, folder / "photographs", None)
    made = BenchmarkPlan(folder=folder, trials=plan_configs(FIXED, 6), chosen=(1, 4))
    store_jpegs(made.dataset(), made.stored)
    return made


def test_five_rounds_have_every_depth_at_every_strength_once():
    trials = plan_configs(FIXED, 5 * (BLOCKS + 1))
    pairs = Counter((config.depth, config.augmentation.strength) for config in trials)
    assert set(pairs) == {(depth, strength) for depth in range(BLOCKS + 1) for strength in STRENGTHS}
    assert set(pairs.values()) == {1}
    assert len({config.seed for config in trials}) == len(trials)


@pytest.mark.parametrize("count", [1, 2, 4, 6, 8, 13, 31])
def test_any_number_of_trials_is_even_over_depths_and_strengths(count):
    trials = plan_configs(FIXED, count)
    depths = Counter(config.depth for config in trials)
    strengths = Counter(config.augmentation.strength for config in trials)
    assert sum(depths.values()) == count
    assert max(depths.values()) - min(depths[depth] for depth in range(BLOCKS + 1)) <= 1
    assert max(strengths.values()) <= -(-count // len(STRENGTHS)) + 2
    if 2 <= count <= BLOCKS:
        assert {0, BLOCKS} <= set(depths)


@pytest.mark.parametrize("count", [1, 3, 6, 9, 12])
def test_the_peers_trials_are_even_over_depths(count):
    trials = plan_configs(FIXED, 12)
    depths = Counter(trials[number].depth for number in choose(trials, count))
    assert sum(depths.values()) == count
    assert max(depths.values()) - min(depths[depth] for depth in range(BLOCKS + 1)) <= 1


def test_a_share_of_the_images_keeps_every_grade_in_both_origins(tiny_dataset, tmp_path):
    lay_out_images(tiny_dataset, tmp_path / "photographs", 30)
    dataset = BenchmarkPlan(folder=tmp_path, trials=plan_configs(FIXED, 1), chosen=(0,)).dataset()
    assert 28 <= len(dataset) <= 34
    assert min(dataset.counts("train")) >= 2
    assert min(dataset.counts("test")) >= 2


def test_a_study_asks_for_the_configurations_of_the_plan(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("DRFT_CACHE", str(tmp_path))
    prepared = prepare(ours.study_options(plan), silent)
    ours.enqueue(prepared, plan)
    storage = open_storage(prepared.storage)
    scheduler = TrialScheduler(prepared.metadata, prepared.space, storage, prepared.sampler, prepared.pruner)
    assert tuple(scheduler.ask().config for _ in plan.trials) == plan.trials
    storage.engine.dispose()


def test_a_plan_is_read_as_it_was_written(plan):
    assert BenchmarkPlan.read(plan.write()) == plan


def test_the_plain_peer_tells_every_step(plan):
    told, seconds = optimize(plan, plain.PlainPeer(plan, loaders=0).train)
    assert [trial.number for trial in told] == [1, 4]
    assert [[epoch.step for epoch in trial.epochs] for trial in told] == [[1, 2], [1, 2]]
    assert all(0 <= trial.best <= 1 for trial in told)
    assert seconds >= sum(trial.seconds for trial in told)


@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
def test_the_careful_peer_trains_as_this_program_does(tiny_dataset, batch_norm):
    config = plan_configs({**FIXED, "batch_norm": batch_norm}, 6)[1]
    peer = careful.CarefulPeer(tiny_dataset, np.asarray(load_images(tiny_dataset, 32)), config)
    theirs, ours = peer.train(config), run_trial(config, tiny_dataset).records
    assert [epoch.step for epoch in theirs] == [record.step for record in ours]
    for epoch, record in zip(theirs, ours, strict=True):
        assert epoch.val_loss == pytest.approx(record.val_loss, abs=1e-4)
        assert epoch.train_loss == pytest.approx(record.train_loss, abs=1e-4)
        assert epoch.val_accuracy == pytest.approx(record.val_accuracy, abs=1e-6)


def test_the_floor_of_a_trial_is_its_steps_and_evaluations():
    config = next(config for config in plan_configs(FIXED, 6) if config.depth == 3)
    times = {0: Times(step=1.0, image=0.1), 3: Times(step=10.0, image=1.0)}
    assert trial_floor(config, times, TrialWorkload(trained=33, evaluated=50)) == pytest.approx(3 + 5 + 30 + 50)


def test_the_floor_is_measured_at_every_depth_in_processes_of_its_own():
    times = measure(plan_configs(FIXED, 1)[0], 5, workers=1, threads=1, seconds=0.0)
    assert list(times) == list(range(BLOCKS + 1))
    assert all(one.step > 0 and one.image > 0 for one in times.values())


def told(number, seconds, accuracy):
    epochs = [Epoch(step=1, train_accuracy=1, train_loss=0, val_accuracy=accuracy, val_loss=1 - accuracy)]
    return TrialMeasurement(number=number, depth=number, seconds=seconds, epochs=tuple(epochs))


def _as_chosen(one, plan):
    """The same measurement, of the trials that a plan gives to the peers."""
    if len(one.trials) > len(plan.chosen):
        return one
    renamed = [trial.model_copy(update={"number": n}) for n, trial in zip(plan.chosen, one.trials, strict=True)]
    return one.model_copy(update={"trials": tuple(renamed)})


@pytest.fixture
def measured():
    own = [told(number, 2.0, 0.5) for number in range(6)]
    return {
        "ours": ContestantMeasurement(setup_seconds=6, seconds=6, trials=tuple(own), workers=2, threads=1),
        "careful": ContestantMeasurement(
            setup_seconds=6, seconds=14, trials=(told(1, 7, 0.5), told(4, 7, 0.75)), threads=2
        ),
    }


def test_costs_are_compared_per_trial(plan, measured):
    found = stand(plan, measured, {name: dict.fromkeys(range(6), 0.5) for name in measured})
    assert found["ours"].seconds_per_trial == pytest.approx(2)
    assert found["careful"].seconds_per_trial == pytest.approx(8)
    assert found["careful"].ratio == pytest.approx(4)
    assert found["careful"].ratio_chosen == pytest.approx(4)
    assert found["ours"].arithmetic_share == pytest.approx(0.25)


def test_curves_are_compared_step_by_step(measured):
    found = agree(measured["ours"], measured["careful"])
    assert (found.steps, found.equal_steps, found.accuracy_max) == (2, 0.5, 0.25)


def test_a_run_writes_what_it_measured_without_paths(tiny_dataset, plan, measured, tmp_path, monkeypatch):
    times = {depth: Times(step=0.1, image=0.01) for depth in range(BLOCKS + 1)}
    folder = tmp_path / "cohort"
    table = lay_out_images(tiny_dataset, folder, None)
    monkeypatch.setattr(peers, "contest", lambda name, plan, _tell: _as_chosen(measured[name], plan))
    monkeypatch.setattr(peers, "measure", lambda *_, **__: times)
    arguments = ["peers", "--data", str(table), "--backbone", "test_resnet", "--weights", "none", "--image-size", "32"]
    sizes = ["--trials", "6", "--peer-trials", "2", "--peers", "careful", "--out", str(tmp_path), "--label", "tiny"]
    monkeypatch.setattr(sys, "argv", [*arguments, *sizes])
    monkeypatch.setattr(peers, "Console", lambda: Console(quiet=True))
    peers.main()
    written = (tmp_path / "peers-tiny.json").read_text()
    assert json.loads(written)["standing"]["careful"]["ran"] == 2
    assert "(b) careful" in (tmp_path / "peers-tiny.md").read_text()
    assert str(tmp_path) not in written
