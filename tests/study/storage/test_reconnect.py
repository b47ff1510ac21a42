"""Storages that go away, and drivers that share one: nothing lost, nothing twice."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter

import optuna
import pytest
import sqlalchemy
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from rich.console import Console

from drft.errors import StudyError
from study.callbacks.progress_reporter import PlainProgress
from study.results.epochs import unpack
from study.results.study_folder import StudyFolder
from study.storage.open import open_storage
from study.storage.reconnect import Reconnect
from study.tuner.interrupt import Interrupt
from study.tuner.stopping import StoppingCriterion
from study.tuner.trial_scheduler import TrialScheduler
from study.tuner.tuner import Tuner
from tests.helpers import ROOT
from tests.helpers.fake_training import fake_record, fake_result
from tests.helpers.small_study import DepthSpace, InProcess, metadata, open_scheduler

COMPLETE, FAIL, RUNNING = TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING

DRIVER = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.helpers.small_study import InProcess, open_scheduler
from study.tuner.tuner import Tuner
from study.tuner.stopping import StoppingCriterion
from study.results.study_folder import StudyFolder
from study.callbacks.progress_reporter import PlainProgress
from rich.console import Console
folder = StudyFolder(Path(sys.argv[3])); folder.write_study("", {})
scheduler = open_scheduler(sys.argv[2])
print("ready", flush=True); input()
goal = StoppingCriterion(int(sys.argv[4]))
print(Tuner(scheduler, InProcess(), folder, PlainProgress(Console(quiet=True)), goal).run().ended)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    return request.getfixturevalue(request.param)


def stored(url):
    return optuna.load_study(study_name="demo", storage=open_storage(url)).get_trials()


def train(scheduler, job):
    records = [fake_record(job.config, step) for step in range(1, 6)]
    for record in records:
        scheduler.report(job.number, record)
    return fake_result(job.config, records, "completed")


class TestOneStudy:
    def test_a_trial_is_kept_whole(self, url):
        scheduler = open_scheduler(url)
        job = scheduler.ask()
        result = train(scheduler, job)
        assert scheduler.finish(job.number, result)
        (trial,) = stored(url)
        assert (trial.state, trial.value) == (COMPLETE, result.best.val_accuracy)
        assert unpack(trial.user_attrs) == list(result.records)

    def test_no_more_trials_are_begun_than_are_wanted(self, url):
        scheduler = open_scheduler(url)
        first = scheduler.ask(2)
        scheduler.finish(first.number, train(scheduler, first))
        assert scheduler.ask(2) is not None
        assert scheduler.ask(2) is None
        assert [trial.state for trial in stored(url)] == [COMPLETE, RUNNING]

    def test_a_queued_trial_waits_on_when_enough_are_under_way(self, url):
        scheduler = open_scheduler(url)
        scheduler.ask()
        scheduler.interrupt("interrupted")
        assert scheduler.ask(0) is None
        assert scheduler.progress.waiting == 1
        assert scheduler.ask(1).number == 1

    def test_a_driver_beats_where_others_could_be_elsewhere(self, url):
        scheduler = open_scheduler(url)
        scheduler.reclaim()
        beats = [name for name in scheduler._study.user_attrs if name.startswith("beat:")]
        assert len(beats) == url.startswith(("postgresql", "journal"))

    def test_what_another_driver_took_over_is_no_result_here(self, url):
        slow = open_scheduler(url)
        job = slow.ask()
        result = train(slow, job)
        other = open_scheduler(url)
        other._owner, other._is_abandoned = "elsewhere:1:1", lambda _trial: True
        assert other.reclaim() == [0]
        assert slow.finish(0, result) is False
        assert (slow.finished, slow.running) == (0, 0)
        assert [trial.state for trial in stored(url)] == [FAIL, TrialState.WAITING]
        assert slow.ask().number == 1

    @pytest.mark.timeout(300)
    def test_two_drivers_finish_each_trial_once(self, url, tmp_path):
        open_scheduler(url)  # the study is there before both come to it
        drivers = [
            subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(ROOT), url, str(tmp_path / "out"), "200"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        for driver in drivers:
            assert driver.stdout.readline() == "ready\n"
        for driver in drivers:
            driver.stdin.write("\n")
            driver.stdin.flush()
        assert [driver.communicate()[0] for driver in drivers] == ["done\n", "done\n"]
        trials = stored(url)
        assert [trial.number for trial in trials] == list(range(200))
        assert Counter(trial.state for trial in trials) == {COMPLETE: 200}
        assert len({trial.user_attrs["owner"] for trial in trials}) == 2
        folders = sorted(path.name for path in (tmp_path / "out" / "trials").iterdir())
        assert folders == [f"{number:04d}" for number in range(200)]


class Outage(PlainProgress):
    """Takes a storage away in the first epoch of a trial, and brings it back when the driver says that it is gone."""

    def __init__(self, take, give):
        super().__init__(Console(quiet=True))
        self.take, self.give, self.said = take, give, []

    def epoch(self, job, record):
        if job.number == 2 and record.step == 1 and not self.said:
            self.take()

    def notice(self, line):
        self.said.append(line)
        if len(self.said) == 1:
            self.give()


def run(url, folder, display, trials=6):
    scheduler = open_scheduler(url, patience=Reconnect(display.notice))
    written = StudyFolder(folder)
    written.write_study("", {})
    return Tuner(scheduler, InProcess(), written, display, StoppingCriterion(trials)).run()


def lose_one_answer(engine):
    """Let a database take one commit and go away before it says so; what is returned tells whether it did."""
    lost = []

    @sqlalchemy.event.listens_for(engine, "commit")
    def lose(connection):
        if not lost:
            lost.append(True)
            connection.connection.commit()
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("the server closed the connection"))

    return lost


def books_balance(url, display):
    trials = stored(url)
    assert [trial.number for trial in trials] == list(range(6))
    assert {trial.state for trial in trials} == {COMPLETE}
    assert all(len(unpack(trial.user_attrs)) == len(trial.intermediate_values) == 5 for trial in trials)
    assert ["does not answer" in line for line in display.said] == [True, False]
    assert "is back" in display.said[1]


class TestOutage:
    def test_a_server_that_restarts_is_waited_for(self, server, postgresql, tmp_path):
        display = Outage(server.crash, server.start)
        assert run(postgresql, tmp_path, display).ended == "done"
        books_balance(postgresql, display)

    def test_a_file_that_is_locked_for_long_is_waited_for(self, sqlite, tmp_path, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.05)
        open_scheduler(sqlite)
        other = sqlite3.connect(sqlite, isolation_level=None)
        display = Outage(lambda: other.execute("BEGIN EXCLUSIVE"), lambda: other.execute("ROLLBACK"))
        assert run(sqlite, tmp_path, display).ended == "done"
        books_balance(sqlite, display)
        other.close()

    def test_a_trial_whose_queueing_was_not_confirmed_is_queued_once(self, database):
        said = []
        scheduler = open_scheduler(database, patience=Reconnect(said.append))
        lost = lose_one_answer(scheduler._ledger._backend.engine)
        scheduler.enqueue(retry_of=3)
        scheduler.enqueue(retry_of=4)
        assert lost
        assert ["does not answer" in line for line in said] == [True, False]
        assert [trial.user_attrs for trial in stored(database)] == [{"retry_of": 3}, {"retry_of": 4}]

    @pytest.mark.parametrize("ended", [True, False])
    def test_a_commit_whose_answer_was_lost_is_not_done_twice(self, database, ended):
        """The storage takes what is written and goes away before it says so."""
        url, said = database, []
        scheduler = open_scheduler(url, patience=Reconnect(said.append))
        job = scheduler.ask()
        result = train(scheduler, job)
        lost = lose_one_answer(scheduler._ledger._backend.engine)

        if ended:
            assert scheduler.finish(job.number, result)
        else:
            scheduler.started(job.number, "here", "cpu")
        assert lost
        assert len(said) == 2
        (trial,) = stored(url)
        assert trial.state == (COMPLETE if ended else RUNNING)
        assert scheduler.finished == int(ended)

    @pytest.mark.parametrize("ended", [True, False])
    def test_an_addition_whose_answer_was_lost_is_not_made_twice(self, journal, ended, monkeypatch):
        said = []
        scheduler = open_scheduler(journal, patience=Reconnect(said.append))
        job = scheduler.ask()
        result = train(scheduler, job)
        lost = []

        def lose(_file):
            if not lost:
                lost.append(True)
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", lose)
        if ended:
            assert scheduler.finish(job.number, result)
        else:
            scheduler.started(job.number, "here", "cpu")
        assert lost
        assert ["does not answer" in line for line in said] == [True, False]
        (trial,) = stored(journal)
        assert trial.state == (COMPLETE if ended else RUNNING)
        assert scheduler.finished == int(ended)

    def test_a_journal_on_a_full_disk_is_waited_for(self, journal, tmp_path, monkeypatch):
        def take_a_part(file):
            os.truncate(file, os.fstat(file).st_size - 10)
            raise OSError(28, "No space left on device")

        display = Outage(lambda: monkeypatch.setattr(os, "fsync", take_a_part), monkeypatch.undo)
        assert run(journal, tmp_path / "out", display).ended == "done"
        books_balance(journal, display)
        assert all(json.loads(line) for line in (tmp_path / "shared").read_text().splitlines())

    def test_a_study_is_begun_on_a_file_that_is_locked_for_long(self, sqlite, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.05)
        storage, said = open_storage(sqlite), []
        other = sqlite3.connect(sqlite, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")

        def hear(line):
            said.append(line)
            if other.in_transaction:
                other.execute("ROLLBACK")

        scheduler = TrialScheduler(metadata(), DepthSpace(), storage, RandomSampler(), NopPruner(), 0, Reconnect(hear))
        assert ["does not answer" in line for line in said] == [True, False]
        assert scheduler.ask().number == 0
        other.close()

    def test_a_storage_that_stays_away_ends_the_run_in_one_sentence(self, sqlite, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.01)
        scheduler = open_scheduler(sqlite, patience=Reconnect(limit=0.05))
        other = sqlite3.connect(sqlite, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match=r"does not answer.*run the same command when it is back"):
            scheduler.ask()
        other.close()

    def test_a_user_need_not_wait(self, sqlite, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.01)
        interruption = Interrupt()
        interruption._signals = 2
        scheduler = open_scheduler(sqlite, patience=Reconnect(interruption=interruption))
        other = sqlite3.connect(sqlite, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match="does not answer"):
            scheduler.ask()
        other.close()

    def test_what_waiting_does_not_mend_is_raised_at_once(self, sqlite):
        scheduler = open_scheduler(sqlite)
        with sqlite3.connect(sqlite) as connection:
            connection.execute("DROP TABLE trials")
        with pytest.raises(sqlalchemy.exc.OperationalError, match="no such table"):
            scheduler.ask()


def test_a_missing_driver_of_a_database_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StudyError, match=r"pip install 'drft-study\[postgres\]'"):
        open_storage("postgresql://drft:secret@nowhere/db")


def test_a_server_that_cannot_be_reached_is_one_line_without_the_password():
    with pytest.raises(StudyError, match="cannot be opened") as caught:
        open_storage("postgresql://drft:secret@127.0.0.1:1/db?connect_timeout=2")
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
