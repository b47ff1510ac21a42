"""The benchmark of growth: what a trial costs at a count, split in sampler and the rest; real studies by part."""

from argparse import Namespace

import optuna
import pytest

from benchmarks.instant import Lap, TimedSampler, instant_trainer, windows
from benchmarks.pages import markdown_page
from benchmarks.scale import studies, study_rows, trial_rows
from drft.config.trial_config import TrialConfig
from drft.training.records import PARTS


def test_a_trial_at_a_count_costs_the_mean_of_the_last_ones():
    laps = [Lap(wall=0.010 * n + 0.5, sampler=0.004 * n, driver_bytes=n) for n in range(100)]
    found = windows(laps, [50, 100], width=20)
    assert found[50]["milliseconds"] == pytest.approx(10)
    assert found[100] == pytest.approx({"milliseconds": 10, "sampler": 4, "rest": 6, "driver_bytes": 99})


def test_the_stopwatch_changes_nothing_that_is_sampled():
    def values(sampler):
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_int("y", 0, 9), n_trials=15)
        return [trial.params for trial in study.trials]

    timed = TimedSampler(optuna.samplers.TPESampler(seed=1, multivariate=True))
    assert values(timed) == values(optuna.samplers.TPESampler(seed=1, multivariate=True))
    assert len(timed.laps) == 15
    assert [lap.sampler for lap in timed.laps] == sorted(lap.sampler for lap in timed.laps)


def test_the_instant_trainer_reports_every_step_and_stops_when_told():
    train, config = instant_trainer(None), TrialConfig()
    steps = []
    result = train(config, lambda record: steps.append(record.step) or True)
    assert steps == list(range(1, 11))
    assert result.ending == "completed"
    assert all(result.predictions[part].probabilities.shape[0] == 10 for part in PARTS)
    assert train(config, lambda record: record.step < 4).ending == "pruned"


def test_tables_become_a_page():
    trials = {50: {"milliseconds": 5.0, "sampler": 2.0, "rest": 3.0, "driver_bytes": 2.0**20}}
    grown = {"sizes: 64 px": {"wall_seconds": 8, "setup_seconds": 1, "seconds_per_trial": 0.5, "peak_bytes": None}}
    machine = {"processor": "some", "cores": 2, "instructions": "AVX2", "versions": {"torch": "2"}}
    tables = [(("trials", "ms"), trial_rows(trials)), (("changed", "s"), study_rows(grown))]
    page = markdown_page("Scale", {"label": "x", "command": "python", "machine": machine}, tables, ["a note"])
    assert "| 50 | 5.0 ms | 2.0 ms | 3.0 ms | 1 MiB |" in page
    assert "| sizes: 64 px | 8.0 s | 1.0 s | 0.50 | not measured |" in page
    assert "some, 2 cores (AVX2); torch 2." in page


def test_one_size_is_changed_at_a_time():
    wanted = Namespace(parts=["images", "workers"], image_counts=[60, 120], sizes=[64], images=None, jobs=None)
    found = list(studies(wanted))
    assert [(part, one.images) for part, _, one in found if part == "images"] == [("images", 60), ("images", 120)]
    assert {one.jobs for part, _, one in found if part == "images"} == {None}
    assert 1 in {one.jobs for part, _, one in found if part == "workers"}
