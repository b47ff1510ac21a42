"""The words a study opens and closes with, and what ``status`` says."""

import os

import pytest

from drft.errors import StudyError
from study.messages import closing_words
from study.report.status import status_lines
from study.results.locate import find_study
from study.results.progress import StudyProgress, count
from study.results.study_results import read_study
from study.storage import heartbeat as owner
from study.tuner.stopping import RunOutcome


@pytest.fixture(scope="module")
def results(demo):
    return read_study("demo", demo)


@pytest.fixture(scope="module")
def progress(demo):
    return count(find_study("demo", demo).open().trials)


def words(results, progress, ended="done", **outcome):
    return "\n".join(closing_words(results, RunOutcome(ended, progress, 95.0, **outcome), "drft-study run --trials 60"))


def test_the_insight_is_said_in_words(results, progress):
    said = words(results, progress)
    assert "Done after 1 min 35 s: 35 trials ran to their end" in said
    assert f"Best is trial {progress.best.number}: depth " in said
    assert f"validation accuracy {progress.best.value:.3f} at step " in said
    assert "Best step against last: validation peaks at step" in said
    assert "ahead of validation accuracy by" in said
    assert "One of 83 validation images is worth 0.012" in said
    assert "rendered images, not patients" in said
    assert "To go on" not in said


def test_the_figures_are_those_of_the_tables(results, progress):
    said = words(results, progress)
    complete = results.complete
    assert f"accuracy is {complete['val_accuracy_best'].mean():.3f} there" in said
    assert f"{complete['val_accuracy_last'].mean():.3f} at the last step" in said


def test_a_stopped_study_says_how_to_go_on(results, progress):
    said = words(results, progress, "interrupted", requeued=2)
    assert "Stopped under way, to be run again: 2. To go on: drft-study run --trials 60" in said


def test_a_failing_study_names_the_reason(results, progress):
    assert "nearly every trial fails (out of memory)" in words(results, progress, "failing", reason="out of memory")


def test_a_study_without_results_has_no_insight(make_study, tmp_path):
    results = read_study("demo", make_study(tmp_path, states=[]))
    said = closing_words(results, RunOutcome("interrupted", StudyProgress(), 1.0), "again")
    assert said == ["", "Interrupted after 0 min 1 s: 0 trials ran to their end, 0 pruned, 0 failed.",
                    "To go on: again"]  # fmt: skip


def test_status_counts_trials_and_says_what_next(demo, progress):
    said = "\n".join(status_lines("demo", demo))
    assert f"{progress.finished} of 60 finished ({progress.complete} complete, {progress.pruned} pruned)" in said
    assert "none; run the same command to go on" in said
    assert f"trial {progress.best.number}, depth" in said
    assert "the training loss became NaN at step 3" in said
    assert "drft-study report demo" in said


def test_status_knows_a_living_driver(make_study, tmp_path):
    place = find_study("demo", make_study(tmp_path))
    study = place.open()
    running = next(trial for trial in study.trials if trial.state.name == "RUNNING")
    study._storage.set_trial_user_attr(running._trial_id, "owner", owner.this_process())
    assert any("driver    at work" in line for line in status_lines("demo", tmp_path))
    study._storage.set_trial_user_attr(running._trial_id, "owner", owner.this_process().replace(str(os.getpid()), "1"))
    assert any("driver    none" in line for line in status_lines("demo", tmp_path))


def test_status_of_a_study_that_is_not_there(tmp_path):
    with pytest.raises(StudyError, match="no study 'demo'"):
        status_lines("demo", tmp_path)
