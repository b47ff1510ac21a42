"""Progress on the terminal: one line per trial without a terminal, a live display on one."""

import io

import pytest
from rich.console import Console

from study.callbacks.progress_reporter import (
    LiveProgress,
    PlainProgress,
    RemainingTime,
    preparation,
    print_line,
    progress_line,
    progress_reporter,
)
from study.executors import Job, Started
from study.results.progress import BestCertainty, RankedTrial, StudyProgress, time_left
from tests.helpers.fake_training import fake_record, fake_result, scripted

JOB = Job(7, scripted(depth=3))
RECORDS = [fake_record(JOB.config, step) for step in range(1, 6)]
PROGRESS = StudyProgress(complete=2, pruned=1, failed=1, best=RankedTrial(5, 0.61))


def screen(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def play(callback):
    callback.on_study_begin(StudyProgress(complete=1), 10)
    callback.on_trial_begin(JOB, Started(7, "cpu-0", "cpu"))
    for record in RECORDS:
        callback.on_epoch(JOB, record)
    callback.on_trial_end(JOB, fake_result(JOB.config, RECORDS, "completed"), PROGRESS)
    callback.on_trial_begin(JOB, Started(7, "cpu-0", "cpu"))
    callback.on_trial_end(JOB, "the loss diverged", PROGRESS)
    callback.on_study_end()


def test_the_reporter_depends_on_the_console():
    assert isinstance(progress_reporter(screen(terminal=True)), LiveProgress)
    assert isinstance(progress_reporter(screen(terminal=False)), PlainProgress)


def test_without_a_terminal_each_trial_is_one_line():
    console = screen(terminal=False)
    play(PlainProgress(console))
    assert console.file.getvalue().splitlines() == [
        "1 of 10 trials are finished",
        "trial 7 (depth 3) completed: best accuracy 0.530 at epoch 3 of 5",
        "trial 7 (depth 3) failed: the loss diverged",
    ]


@pytest.mark.parametrize(("finished", "goal", "lines"), [(9, 30, 1), (10, 30, 2), (20, 30, 2), (25, 25, 2)])
def test_without_a_terminal_the_progress_is_printed_with_every_tenth_trial_and_the_last(finished, goal, lines):
    console = screen(terminal=False)
    callback = PlainProgress(console)
    callback.on_study_begin(StudyProgress(), goal)
    callback.on_trial_begin(JOB, Started(7, "cpu-0", "cpu"))
    progress = StudyProgress(complete=finished, best=RankedTrial(5, 0.61))
    callback.on_trial_end(JOB, fake_result(JOB.config, RECORDS, "completed"), progress)
    _, _, *more = console.file.getvalue().splitlines()
    assert len(more) == lines - 1
    assert all(
        f"{finished}/{goal} finished, 0 of them pruned, 0 failed, best 0.610 (trial 5); " in line for line in more
    )


def test_on_a_terminal_only_failures_stay():
    console = screen(terminal=True)
    play(LiveProgress(console))
    lines = [line for line in console.file.getvalue().splitlines() if "trial 7 (depth 3)" in line]
    assert len(lines) == 1
    assert "failed: the loss diverged" in lines[0]


def test_the_live_display_shows_progress_and_every_worker():
    console = screen(terminal=True)
    live = LiveProgress(console)
    live.on_study_begin(PROGRESS, 10)
    live.on_trial_begin(JOB, Started(7, "cpu-0", "cpu"))
    live.on_trial_begin(Job(8, scripted(depth=1)), Started(8, "cpu-1", "cpu"))
    live.on_epoch(JOB, RECORDS[3])
    recorded = Console(width=100, record=True, file=io.StringIO())
    recorded.print(live._draw())
    live.on_study_end()
    text = recorded.export_text()
    assert "3/10 finished, 1 of them pruned, 1 failed, best 0.610 (trial 5)" in text
    rows = [" ".join(line.split()) for line in text.splitlines() if line.startswith("cpu-")]
    assert rows == [
        "cpu-0 trial 7 depth 3 depth phase 2/3 train 0.800 val 0.510",
        "cpu-1 trial 8 depth 1 starting",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_preparation_prints_few_lines(terminal):
    console = screen(terminal=terminal)
    with preparation(console) as report:
        for done in range(1000):
            report("decoding images", done, 999)
    lines = console.file.getvalue().splitlines()
    assert len(lines) < 30
    assert terminal or lines == ["decoding images (999)"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "time left unknown"), (4.2, "4 s left"), (75, "1 min 15 s left"), (3 * 3600 + 61, "3 h 1 min left")],
)
def test_remaining_time_has_at_most_two_units(seconds, words):
    assert time_left(seconds) == words


def test_remaining_time_is_estimated_from_trials_of_this_run(monkeypatch):
    remaining = RemainingTime(goal=10, finished_before=4, started=100.0)
    now = 130.0
    monkeypatch.setattr("study.callbacks.progress_reporter.time.monotonic", lambda: now)
    remaining.update(4)
    assert remaining.text == "time left unknown"
    remaining.update(7)
    assert remaining.text == "30 s left"
    now = 150.0
    assert remaining.text == "10 s left"
    now = 200.0
    assert remaining.text == "0 s left"
    remaining.update(8)
    assert remaining.text == "50 s left"
    remaining.update(12)
    assert remaining.text == "0 s left"


def test_the_progress_line_has_the_interval_of_the_best():
    progress = StudyProgress(complete=5, best=RankedTrial(3, 0.61), certainty=BestCertainty(0.5, 0.71, 4, 5))
    expected = "best 0.610 (trial 3; 95% 0.500 to 0.710; 4 of 5 completed are indistinguishable from it)"
    assert expected in progress_line(progress, 10)


def test_lines_are_broken_at_words_on_a_terminal_and_not_at_all_elsewhere():
    line = "cross-validation " * 10
    for terminal, count in ((True, 2), (False, 1)):
        console = screen(terminal=terminal)
        print_line(console, line.rstrip())
        lines = console.file.getvalue().splitlines()
        assert len(lines) == count
        assert " ".join(lines).split() == line.split()
