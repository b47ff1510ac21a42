"""The lines that a run prints at its end, and those of ``drft-study status``."""

import os

import pytest
from optuna.trial import TrialState

from drft.errors import StudyError
from study.messages import closing_lines
from study.report.status import status_lines
from study.results.locate import find_study
from study.results.progress import StudyProgress, count
from study.results.study_results import read_study
from study.storage import heartbeat
from study.storage.open import open_storage
from study.tuner.stopping import RunOutcome


@pytest.fixture(scope="module")
def results(demo):
    return read_study("demo", demo)


@pytest.fixture(scope="module")
def progress(demo):
    return count(find_study("demo", demo).open().trials)


def text(results, progress, ended="done", **outcome):
    return "\n".join(closing_lines(results, RunOutcome(ended, progress, 95.0, **outcome), "drft-study run --trials 60"))


def test_the_closing_lines_hold_the_results(results, progress):
    said = text(results, progress)
    assert "Done after 1 min 35 s: 35 trials completed" in said
    assert f"Best is trial {progress.best.number}: depth " in said
    assert f"validation accuracy {progress.best.value:.3f} at epoch " in said
    assert "Best epoch against last: validation peaks at epoch" in said
    assert "Train minus validation accuracy at the last epoch: " in said
    assert "One of 83 validation images changes the accuracy by 0.012" in said
    assert "rendered images, not patients" in said
    assert "To resume" not in said


def test_the_figures_are_those_of_the_tables(results, progress):
    said = text(results, progress)
    complete = results.complete
    assert f"accuracy is {complete['val_accuracy_best'].mean():.3f} there" in said
    assert f"{complete['val_accuracy_last'].mean():.3f} at the last epoch" in said


def test_a_study_without_a_floor_says_how_to_get_it(results, progress):
    assert "There is no floor (a linear model on frozen features): it was not computed; the command" in text(
        results, progress
    )


def test_a_stopped_study_is_resumed_by_the_printed_command(results, progress):
    said = text(results, progress, "interrupted", requeued=2)
    assert "Trials stopped and queued again: 2. To resume: drft-study run --trials 60" in said


def test_a_failing_study_names_the_reason(results, progress):
    assert "nearly every trial fails (out of memory)" in text(results, progress, "failing", reason="out of memory")


def test_a_study_without_results_has_no_such_lines(make_study, tmp_path):
    results = read_study("demo", make_study(tmp_path, states=[]))
    said = closing_lines(results, RunOutcome("interrupted", StudyProgress(), 1.0), "again")
    assert said == ["", "Interrupted after 0 min 1 s: 0 trials completed, 0 pruned, 0 failed.",
                    "To resume: again"]  # fmt: skip


def test_status_counts_trials_and_names_the_next_command(demo, progress):
    said = "\n".join(status_lines("demo", demo))
    assert f"{progress.finished} of 60 finished ({progress.complete} complete, {progress.pruned} pruned)" in said
    assert "none; run the same command to resume" in said
    assert f"trial {progress.best.number}, depth" in said
    assert "the training loss became NaN at step 3" in said
    assert "drft-study report demo" in said


def test_status_shows_whether_a_tuner_process_is_running(make_study, tmp_path):
    location = find_study("demo", make_study(tmp_path))
    storage = open_storage(location.url)
    running = next(trial for trial in location.open().trials if trial.state.name == "RUNNING")
    study_id = storage.get_study_id_from_name("demo")
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, running.number)
    this_process = heartbeat.this_process()
    storage.set_trial_user_attr(trial_id, "owner", this_process)
    assert any("tuner     running" in line for line in status_lines("demo", tmp_path))
    storage.set_trial_user_attr(trial_id, "owner", this_process.replace(str(os.getpid()), "1"))
    assert any("tuner     none" in line for line in status_lines("demo", tmp_path))


def test_status_of_a_missing_study_is_an_error(tmp_path):
    with pytest.raises(StudyError, match="no study 'demo'"):
        status_lines("demo", tmp_path)


def test_a_study_with_the_goal_depth_ends_with_its_verdict_and_the_next_commands(
    make_study, add_graded_finalists, tmp_path
):
    place = make_study(tmp_path, "deep", goal="depth")
    progress = count(find_study("deep", place).open().trials)
    without = closing_lines(read_study("deep", place), RunOutcome("done", progress, 95.0), "again")
    assert without[-1] == "No verdict: the finalists of the depths are not trained yet: resume the run."
    add_graded_finalists(place, "deep")
    said = closing_lines(read_study("deep", place), RunOutcome("done", progress, 95.0), "again")
    assert said[3].startswith("Train 5 of 5 blocks (")
    assert "Best is trial" not in "\n".join(said)  # the best of many trials is no answer
    study = place / "deep"
    assert said[-1] == (
        f"Next: drft-study confirm {study} opens the 103 test images once;  drft-study export {study} --out model"
    )
    early = closing_lines(read_study("deep", place), RunOutcome("interrupted", progress, 95.0), "again")
    assert early[3] == said[3]
    assert "Next:" not in "\n".join(early)  # the model may change
    assert early[-1] == "To resume: again"


def test_a_study_is_not_done_before_its_finalists_are(make_study, add_graded_finalists, change_finalists, tmp_path):
    place = make_study(tmp_path, "deep", goal="depth", states=[TrialState.COMPLETE], trials_wanted=1)

    def tuner():
        return next(line for line in status_lines("deep", place) if "tuner" in line)

    resume = "  tuner     none; run the same command to resume"
    assert tuner() == resume
    add_graded_finalists(place, "deep")
    assert tuner() == "  tuner     none; the study is done"
    change_finalists(place, "deep", lambda trial: trial if trial.number < 10 else None)
    assert tuner() == resume
