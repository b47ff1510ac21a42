"""The limit on the gap: stored with each trial, used by the sampler, and a condition for the best trial."""

import warnings

import optuna
import pytest

from drft.config.trial_config import TrialConfig
from drft.errors import StudyError, UsageError
from study.analysis import summarize
from study.callbacks.progress_reporter import PlainProgress, progress_line
from study.export.model import export_model
from study.report.chapters import write_chapters
from study.report.json_csv import summary
from study.report.status import status_lines
from study.results.confirmation_plan import make_plan
from study.results.study_folder import StudyFolder
from study.results.study_results import read_study
from study.samplers.factory import make_sampler, sampler_notes
from study.setup.options import RunOptions
from study.space import Space
from study.tuner.stopping import StoppingCriterion
from study.tuner.tuner import Tuner
from tests.helpers.fake_training import fake_record, fake_result
from tests.helpers.small_study import InProcess, metadata, open_scheduler

GAPS = {0: 0.3, 1: 0.1, 2: 0.2}
"""Gaps of three trials. Later trials have higher scores; only the middle one is within a limit of 0.15."""


def finish(scheduler, accuracy, gap):
    """Run one trial with this validation accuracy and gap at its best epoch."""
    job = scheduler.ask()
    record = fake_record(job.config, 1, accuracy)
    record = type(record)(**{**fields(record), "train_accuracy": accuracy + gap})
    assert scheduler.report(job.number, record)
    scheduler.finish(job.number, fake_result(job.config, [record], "completed"))


def fields(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def limited(location, gaps=GAPS, max_gap=0.15):
    scheduler = open_scheduler(location, max_gap=max_gap)
    for number, gap in gaps.items():
        finish(scheduler, 0.5 + 0.1 * number, gap)
    return scheduler


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_the_best_trial_is_the_best_feasible_one_also_in_a_resumed_study(kind, request):
    url = request.getfixturevalue(kind)
    assert limited(url).tally.progress.best.number == 1
    again = open_scheduler(url, max_gap=0.15)
    assert [ranked.number for ranked in again.tally.ranking] == [1, 2, 0]
    assert (again.tally.progress.best.number, again.tally.progress.infeasible) == (1, 2)
    assert [round(trial.constraints["gap"], 6) for trial in again.tally.trials()] == [0.15, -0.05, 0.05]
    assert again.tally.best_steps() == {1: 1}


def test_without_a_limit_the_best_is_the_best_and_nothing_is_stored(tmp_path):
    scheduler = limited(tmp_path, max_gap=None)
    assert scheduler.tally.progress.best.number == 2
    assert not any(trial.constraints for trial in scheduler.tally.trials())


def test_another_limit_is_refused(tmp_path):
    limited(tmp_path)
    for changed, word in ((0.2, "0.15 there, 0.2 here"), (None, "0.15 there, none here")):
        with pytest.raises(StudyError, match=f"another max-gap \\({word}\\)"):
            open_scheduler(tmp_path, max_gap=changed)


def in_folder(tmp_path, gaps=GAPS):
    """Make a study of these trials and read it."""
    folder = tmp_path / "demo"
    folder.mkdir()
    scheduler = limited(folder, gaps)
    StudyFolder(folder).write_study("", {})
    return scheduler, read_study("demo", tmp_path)


def test_report_export_and_confirmation_take_the_best_feasible_trial(tmp_path):
    _, results = in_folder(tmp_path)
    results.info.split.update(n_validation=10, n_test=5)
    results.info.dataset.update(grades=["a", "b"], rendered=False)
    statistics = summarize(results)
    assert results.complete["number"].tolist() == [2, 1, 0]
    assert summary(results, statistics)["best"]["number"] == 1
    assert statistics.noise.best_trial == 1
    opening = write_chapters(results, statistics)[0].parts[0].text
    assert "gap of 15.0 points or less" in opening
    assert "1 of 3 can" in opening
    with pytest.raises(StudyError, match="trial 1 has no checkpoint"):
        export_model(results, tmp_path / "out")
    with pytest.raises(StudyError, match=r"1 different completed trials with a gap of 0\.15 or less"):
        make_plan(results, top=2, seeds=1)


def test_all_outputs_state_that_no_trial_is_feasible(tmp_path):
    scheduler, results = in_folder(tmp_path, {0: 0.3, 1: 0.2})
    assert "none of 2 completed is feasible" in progress_line(scheduler.tally.progress, 2)
    assert any("all 2 complete trials have a gap above the limit" in line for line in status_lines("demo", tmp_path))
    results.info.split.update(n_validation=10, n_test=5)
    results.info.dataset.update(rendered=False)
    statistics = summarize(results)
    assert statistics.noise.reason == "each of 2 completed trials has a gap above 0.15 at its best epoch"
    assert summary(results, statistics)["best"] is None
    assert "There is no best trial." in write_chapters(results, statistics)[0].parts[0].text
    with pytest.raises(StudyError, match="has no best trial, each of 2 completed"):
        export_model(results, tmp_path / "out")


def test_feasible_trials_keep_their_checkpoints_first(tmp_path):
    scheduler = open_scheduler(
        tmp_path, max_gap=0.19
    )  # the gap of a fake training is 0.2 minus 0.01 per block of depth
    folder = StudyFolder(tmp_path)
    folder.write_study("", {})
    Tuner(scheduler, InProcess(1), folder, [PlainProgress(quiet())], StoppingCriterion(8, checkpoints=1)).run()
    feasible = {trial.number for trial in scheduler.tally.trials() if trial.constraints["gap"] <= 0}
    assert 0 < len(feasible) < 8
    (checkpoint,) = tmp_path.glob("trials/*/best.safetensors")
    assert int(checkpoint.parent.name) == scheduler.tally.progress.best.number
    assert scheduler.tally.progress.best.number in feasible


def quiet():
    from rich.console import Console

    return Console(quiet=True)


SPACE = "search:\n  depth_phase.lr: {type: float, low: 1e-5, high: 1e-2}\n  dropout: {type: float, low: 0, high: 0.5}\n"


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes"])
def test_each_sampler_works_with_the_limit_and_a_note_states_whether_it_uses_it(name):
    space = Space.parse(SPACE, "space.yaml").bind(TrialConfig(), 8)
    has_note = any("does not use --max-gap" in note for note in sampler_notes(name, space, 0.1))
    assert has_note == (name != "tpe")
    assert not any("max-gap" in note for note in sampler_notes(name, space))
    study = optuna.create_study(sampler=make_sampler(name, seed=0, space=space, finished_trials=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            trial = study.ask(space.distributions)
            trial.set_constraint("gap", 0.1)
            study.tell(trial, 0.5)


def test_tpe_avoids_trials_with_a_larger_gap():
    """Score and gap rise with the rate: without the limit the sampler draws rates at the upper end."""
    space = Space.parse(SPACE, "space.yaml").bind(TrialConfig(), 8)
    shares = []
    for limit in (None, 0.2):
        study = optuna.create_study(
            direction="maximize", sampler=make_sampler("tpe", seed=1, space=space, finished_trials=0)
        )
        for _ in range(60):
            trial = study.ask(space.distributions)
            value = trial.params["depth_phase.lr"] * 100
            if limit is not None:
                trial.set_constraint("gap", value - limit)
            study.tell(trial, value)
        late = [trial.params["depth_phase.lr"] * 100 for trial in study.trials[30:]]
        shares.append(sum(value > 0.4 for value in late) / len(late))
    assert shares[1] < shares[0] / 2


@pytest.mark.parametrize("max_gap", [-0.1, 1.0, float("nan")])
def test_limits_out_of_range_are_refused(max_gap):
    with pytest.raises(UsageError, match="max-gap should be at least 0"):
        RunOptions(max_gap=max_gap)


def test_the_limit_is_in_the_metadata():
    assert metadata(max_gap=0.15).attributes()["max_gap"] == 0.15
    assert "max_gap" not in metadata().attributes()
