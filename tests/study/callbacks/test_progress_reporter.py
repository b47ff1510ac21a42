"""What the user sees: one line per trial without a terminal, a display in place on one."""

import io

import pytest
from rich.console import Console

from study.callbacks.progress_reporter import (
    LiveProgress,
    PlainProgress,
    TimeLeft,
    preparation,
    progress_reporter,
    tally,
)
from study.executors import Job, Started
from study.results.progress import BestCertainty, RankedTrial, StudyProgress, time_left
from tests.helpers.fake_training import fake_record, fake_result, scripted

JOB = Job(7, scripted(depth=3))
RECORDS = [fake_record(JOB.config, step) for step in range(1, 6)]
STANDING = StudyProgress(complete=2, pruned=1, failed=1, best=RankedTrial(5, 0.61))


def screen(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def play(display):
    display.begin(StudyProgress(complete=1), 10)
    display.started(JOB, Started(7, "cpu-0", "cpu"))
    for record in RECORDS:
        display.epoch(JOB, record)
    display.ended(JOB, fake_result(JOB.config, RECORDS, "completed"), STANDING)
    display.started(JOB, Started(7, "cpu-0", "cpu"))
    display.ended(JOB, "the loss went astray", STANDING)
    display.end()


def test_the_display_suits_the_console():
    assert isinstance(progress_reporter(screen(terminal=True)), LiveProgress)
    assert isinstance(progress_reporter(screen(terminal=False)), PlainProgress)


def test_without_a_terminal_each_trial_is_one_line():
    console = screen(terminal=False)
    play(PlainProgress(console))
    begin, completed, failed = console.file.getvalue().splitlines()
    assert begin == "1 of 10 trials are finished"
    assert completed.startswith("trial 7 (depth 3) completed: best accuracy 0.530 at step 3 of 5 | 3/10 finished")
    assert "best 0.610 (trial 5)" in completed
    assert failed.startswith("trial 7 (depth 3) failed: the loss went astray | ")


def test_on_a_terminal_only_failures_stay():
    console = screen(terminal=True)
    play(LiveProgress(console))
    lines = [line for line in console.file.getvalue().splitlines() if "trial 7 (depth 3)" in line]
    assert len(lines) == 1
    assert "failed: the loss went astray" in lines[0]


def test_the_live_display_shows_tally_and_every_slot():
    console = screen(terminal=True)
    display = LiveProgress(console)
    display.begin(STANDING, 10)
    display.started(JOB, Started(7, "cpu-0", "cpu"))
    display.started(Job(8, scripted(depth=1)), Started(8, "cpu-1", "cpu"))
    display.epoch(JOB, RECORDS[3])
    seen = Console(width=100, record=True, file=io.StringIO())
    seen.print(display._draw())
    display.end()
    text = seen.export_text()
    assert "3/10 finished, 1 of them pruned, 1 failed, best 0.610 (trial 5)" in text
    shown = [" ".join(line.split()) for line in text.splitlines() if line.startswith("cpu-")]
    assert shown == [
        "cpu-0 trial 7 depth 3 depth phase 2/3 train 0.800 val 0.510",
        "cpu-1 trial 8 depth 1 starting",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_preparation_does_not_flood(terminal):
    console = screen(terminal=terminal)
    with preparation(console) as tell:
        for done in range(1000):
            tell("decoding images", done, 999)
    lines = console.file.getvalue().splitlines()
    assert len(lines) < 30
    assert terminal or lines == ["decoding images (999)"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "time left unknown"), (4.2, "4 s left"), (75, "1 min 15 s left"), (3 * 3600 + 61, "3 h 1 min left")],
)
def test_durations_are_said_in_two_units_at_most(seconds, words):
    assert time_left(seconds) == words


def test_only_trials_of_this_run_set_the_pace(monkeypatch):
    clock = TimeLeft(goal=10, finished_before=4, started=100.0)
    monkeypatch.setattr("study.callbacks.progress_reporter.time.monotonic", lambda: 130.0)
    assert clock.remaining(4) is None
    assert clock.remaining(7) == pytest.approx(30.0)
    assert clock.remaining(12) == 0


def test_the_tally_says_how_sure_the_best_is():
    told = StudyProgress(complete=5, best=RankedTrial(3, 0.61), certainty=BestCertainty(0.5, 0.71, 4, 5))
    assert "best 0.610 (trial 3; 95% 0.500 to 0.710; 4 of 5 completed are indistinguishable from it)" in tally(told, 10)
