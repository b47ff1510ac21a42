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

from drft.errors import StudyError
from study.callbacks.callback import Callback
from study.results.epochs import unpack
from study.results.study_folder import StudyFolder
from study.storage.open import open_storage
from study.storage.reconnect import Reconnect
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
from study.callbacks.callback import Callback
from rich.console import Console
folder = StudyFolder(Path(sys.argv[3])); folder.write_study("", {})
scheduler = open_scheduler(sys.argv[2])
print("ready", flush=True); input()
goal = StoppingCriterion(int(sys.argv[4]))
print(Tuner(scheduler, InProcess(), folder, [], goal).run().ended)
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
    def test_a_trial_is_stored_completely(self, url):
        scheduler = open_scheduler(url)
        job = scheduler.ask()
        result = train(scheduler, job)
        assert scheduler.finish(job.number, result)
        (trial,) = stored(url)
        assert (trial.state, trial.value) == (COMPLETE, result.best.val_accuracy)
        assert unpack(trial.user_attrs) == list(result.records)

    def test_no_more_trials_start_than_are_wanted(self, url):
        scheduler = open_scheduler(url)
        first = scheduler.ask(2)
        scheduler.finish(first.number, train(scheduler, first))
        assert scheduler.ask(2) is not None
        assert scheduler.ask(2) is None
        assert [trial.state for trial in stored(url)] == [COMPLETE, RUNNING]

    def test_a_queued_trial_keeps_waiting_when_enough_are_running(self, url):
        scheduler = open_scheduler(url)
        scheduler.ask()
        scheduler.interrupt("interrupted")
        assert scheduler.ask(0) is None
        assert scheduler.tally.progress.waiting == 1
        assert scheduler.ask(1).number == 1

    def test_heartbeats_are_sent_where_tuners_can_be_on_several_machines(self, url):
        scheduler = open_scheduler(url)
        scheduler.reclaim()
        beats = [name for name in scheduler._study.user_attrs if name.startswith("beat:")]
        assert len(beats) == url.startswith(("postgresql", "journal"))

    def test_a_result_is_dropped_when_another_tuner_took_the_trial_over(self, url):
        slow = open_scheduler(url)
        job = slow.ask()
        result = train(slow, job)
        other = open_scheduler(url)
        other._owner, other._is_abandoned = "elsewhere:1:1", lambda _trial: True
        assert other.reclaim() == [0]
        assert slow.finish(0, result) is False
        assert (slow.tally.finished, slow.running) == (0, 0)
        assert [trial.state for trial in stored(url)] == [FAIL, TrialState.WAITING]
        assert slow.ask().number == 1

    @pytest.mark.timeout(600)
    def test_two_tuners_finish_each_trial_once(self, url, tmp_path):
        open_scheduler(url)  # both tuners open an existing study
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


class Outage(Callback):
    """Stops a storage in the first epoch of trial 2, and starts it when the tuner reports the outage."""

    def __init__(self, stop, start):
        self.stop, self.start, self.messages = stop, start, []

    def on_epoch(self, job, record):
        if job.number == 2 and record.step == 1 and not self.messages:
            self.stop()

    def on_message(self, line):
        self.messages.append(line)
        if len(self.messages) == 1:
            self.start()


def run(url, folder, outage, trials=6):
    scheduler = open_scheduler(url, reconnect=Reconnect(outage.on_message))
    written = StudyFolder(folder)
    written.write_study("", {})
    return Tuner(scheduler, InProcess(), written, [outage], StoppingCriterion(trials)).run()


def lose_one_answer(engine):
    """Let a database lose the connection after its next commit; the returned list is then not empty."""
    lost = []

    @sqlalchemy.event.listens_for(engine, "commit")
    def lose(connection):
        if not lost:
            lost.append(True)
            connection.connection.commit()
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("the server closed the connection"))

    return lost


def assert_complete_after_outage(url, outage):
    trials = stored(url)
    assert [trial.number for trial in trials] == list(range(6))
    assert {trial.state for trial in trials} == {COMPLETE}
    assert all(len(unpack(trial.user_attrs)) == len(trial.intermediate_values) == 5 for trial in trials)
    assert ["does not answer" in line for line in outage.messages] == [True, False]
    assert "is back" in outage.messages[1]


class TestOutage:
    def test_the_tuner_waits_for_a_server_that_restarts(self, server, postgresql, tmp_path):
        outage = Outage(server.crash, server.start)
        assert run(postgresql, tmp_path, outage).ended == "done"
        assert_complete_after_outage(postgresql, outage)

    def test_the_tuner_waits_for_a_locked_file(self, sqlite, tmp_path, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.05)
        open_scheduler(sqlite)
        other = sqlite3.connect(sqlite, isolation_level=None)
        outage = Outage(lambda: other.execute("BEGIN EXCLUSIVE"), lambda: other.execute("ROLLBACK"))
        assert run(sqlite, tmp_path, outage).ended == "done"
        assert_complete_after_outage(sqlite, outage)
        other.close()

    def test_a_trial_is_queued_once_when_the_answer_was_lost(self, database):
        messages = []
        scheduler = open_scheduler(database, reconnect=Reconnect(messages.append))
        lost = lose_one_answer(scheduler._storage._storage.engine)
        scheduler.enqueue(retry_of=3)
        scheduler.enqueue(retry_of=4)
        assert lost
        assert ["does not answer" in line for line in messages] == [True, False]
        assert [trial.user_attrs for trial in stored(database)] == [{"retry_of": 3}, {"retry_of": 4}]

    @pytest.mark.parametrize("ended", [True, False])
    def test_a_commit_is_not_repeated_when_the_answer_was_lost(self, database, ended):
        url, messages = database, []
        scheduler = open_scheduler(url, reconnect=Reconnect(messages.append))
        job = scheduler.ask()
        result = train(scheduler, job)
        lost = lose_one_answer(scheduler._storage._storage.engine)

        if ended:
            assert scheduler.finish(job.number, result)
        else:
            scheduler.started(job.number, "here", "cpu")
        assert lost
        assert len(messages) == 2
        (trial,) = stored(url)
        assert trial.state == (COMPLETE if ended else RUNNING)
        assert scheduler.tally.finished == int(ended)

    @pytest.mark.parametrize("ended", [True, False])
    def test_lines_of_a_journal_are_not_repeated_when_the_answer_was_lost(self, journal, ended, monkeypatch):
        messages = []
        scheduler = open_scheduler(journal, reconnect=Reconnect(messages.append))
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
        assert ["does not answer" in line for line in messages] == [True, False]
        (trial,) = stored(journal)
        assert trial.state == (COMPLETE if ended else RUNNING)
        assert scheduler.tally.finished == int(ended)

    def test_the_tuner_waits_for_space_for_a_journal(self, journal, tmp_path, monkeypatch):
        def take_a_part(file):
            os.truncate(file, os.fstat(file).st_size - 10)
            raise OSError(28, "No space left on device")

        outage = Outage(lambda: monkeypatch.setattr(os, "fsync", take_a_part), monkeypatch.undo)
        assert run(journal, tmp_path / "out", outage).ended == "done"
        assert_complete_after_outage(journal, outage)
        assert all(json.loads(line) for line in (tmp_path / "shared").read_text().splitlines())

    def test_a_study_is_created_in_a_file_that_was_locked(self, sqlite, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.05)
        storage, messages = open_storage(sqlite), []
        other = sqlite3.connect(sqlite, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")

        def hear(line):
            messages.append(line)
            if other.in_transaction:
                other.execute("ROLLBACK")

        scheduler = TrialScheduler(metadata(), DepthSpace(), storage, RandomSampler(), NopPruner(), 0, Reconnect(hear))
        assert ["does not answer" in line for line in messages] == [True, False]
        assert scheduler.ask().number == 0
        other.close()

    def test_a_long_outage_ends_the_run_with_one_line(self, sqlite, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.01)
        scheduler = open_scheduler(sqlite, reconnect=Reconnect(limit=0.05))
        other = sqlite3.connect(sqlite, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match=r"does not answer.*run the same command when it is back"):
            scheduler.ask()
        other.close()

    def test_the_user_can_end_the_waiting(self, sqlite, monkeypatch):
        monkeypatch.setattr("study.storage.open.BUSY_SECONDS", 0.01)
        scheduler = open_scheduler(sqlite, reconnect=Reconnect(stop_requested=lambda: True))
        other = sqlite3.connect(sqlite, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match="does not answer"):
            scheduler.ask()
        other.close()

    def test_permanent_errors_are_raised_at_once(self, sqlite):
        scheduler = open_scheduler(sqlite)
        with sqlite3.connect(sqlite) as connection:
            connection.execute("DROP TABLE trials")
        with pytest.raises(sqlalchemy.exc.OperationalError, match="no such table"):
            scheduler.ask()


def test_a_missing_database_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StudyError, match=r"pip install 'psycopg.*'"):
        open_storage("postgresql://drft:secret@nowhere/db")


def test_an_unreachable_server_is_one_line_without_the_password():
    with pytest.raises(StudyError, match="cannot be opened") as caught:
        open_storage("postgresql://drft:secret@127.0.0.1:1/db?connect_timeout=2")
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
