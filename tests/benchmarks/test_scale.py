"""The benchmark of scale: cost of a trial by study size, split into sampler and rest; real studies by part."""

from argparse import Namespace

import optuna
import pytest

from benchmarks.instant import TimedSampler, TrialTiming, instant_trainer, trial_costs
from benchmarks.pages import markdown_page
from benchmarks.scale import studies, study_rows, trial_rows
from drft.config.trial_config import TrialConfig
from drft.training.records import PARTS


def test_the_cost_at_a_count_is_the_mean_of_the_trials_before_it():
    timings = [TrialTiming(wall=0.010 * n + 0.5, sampler=0.004 * n, driver_bytes=n) for n in range(100)]
    costs = trial_costs(timings, [50, 100], window=20)
    assert costs[50]["milliseconds"] == pytest.approx(10)
    assert costs[100] == pytest.approx({"milliseconds": 10, "sampler": 4, "rest": 6, "driver_bytes": 99})


def test_a_timed_sampler_samples_the_same():
    def params(sampler):
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_int("y", 0, 9), n_trials=15)
        return [trial.params for trial in study.trials]

    timed = TimedSampler(optuna.samplers.TPESampler(seed=1, multivariate=True))
    assert params(timed) == params(optuna.samplers.TPESampler(seed=1, multivariate=True))
    seconds = [timing.sampler for timing in timed.timings]
    assert len(seconds) == 15
    assert seconds == sorted(seconds)


def test_the_instant_trainer_reports_every_epoch_and_stops_when_it_is_pruned():
    train, config = instant_trainer(None), TrialConfig()
    steps = []
    result = train(config, lambda record: steps.append(record.step) or True)
    assert steps == list(range(1, 11))
    assert result.ending == "completed"
    assert all(result.predictions[part].probabilities.shape[0] == 10 for part in PARTS)
    assert train(config, lambda record: record.step < 4).ending == "pruned"


def test_tables_become_a_page():
    trials = {50: {"milliseconds": 5.0, "sampler": 2.0, "rest": 3.0, "driver_bytes": 2.0**20}}
    costs = {"sizes: 64 px": {"wall_seconds": 8, "setup_seconds": 1, "seconds_per_trial": 0.5, "peak_bytes": None}}
    machine = {"processor": "some", "cores": 2, "instructions": "AVX2", "versions": {"torch": "2"}}
    tables = [(("trials", "ms"), trial_rows(trials)), (("changed", "s"), study_rows(costs))]
    page = markdown_page("Scale", {"label": "x", "command": "python", "machine": machine}, tables, ["a note"])
    assert "| 50 | 5.0 ms | 2.0 ms | 3.0 ms | 1 MiB |" in page
    assert "| sizes: 64 px | 8.0 s | 1.0 s | 0.50 | not measured |" in page
    assert "some, 2 cores (AVX2); torch 2." in page


def test_one_size_changes_at_a_time():
    args = Namespace(parts=["images", "workers"], image_counts=[60, 120], sizes=[64], images=None, jobs=None)
    changed = list(studies(args))
    assert [(part, options.images) for part, _, options in changed if part == "images"] == [
        ("images", 60),
        ("images", 120),
    ]
    assert {options.jobs for part, _, options in changed if part == "images"} == {None}
    assert 1 in {options.jobs for part, _, options in changed if part == "workers"}
