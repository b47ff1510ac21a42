"""The ledger: an Optuna storage that agrees with Optuna's own, sees other drivers, and writes in few transactions."""

import json
import os
import sqlite3

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from study.storage import cached_storage as ledger_module
from study.storage.backend import GoalReachedError
from study.storage.cached_storage import CachedStorage
from study.storage.open import open_storage


@pytest.fixture
def database(tmp_path):
    return begun(tmp_path / "study.db")


@pytest.fixture
def journal(tmp_path):
    return begun(tmp_path / "study.journal")


@pytest.fixture(params=["database", "journal"])
def path(request):
    return request.getfixturevalue(request.param)


def begun(path):
    optuna.create_study(study_name="demo", storage=open_storage(path), direction="maximize")
    return path


def opened(path, sampler=None, pruner=None):
    storage = open_storage(path)
    ledger = CachedStorage(storage, storage.get_study_id_from_name("demo"))
    return ledger, optuna.load_study(study_name="demo", storage=ledger, sampler=sampler, pruner=pruner)


def stored(path):
    """Return all trials as Optuna itself reads them."""
    return optuna.load_study(study_name="demo", storage=open_storage(path)).get_trials()


def objective(trial):
    """Touch everything a trial can hold."""
    x = trial.suggest_float("x", -1, 1)
    kind = trial.suggest_categorical("kind", ("a", "b"))
    trial.set_user_attr("list", [1, {"two": None}])
    trial.set_user_attr("list", [kind])
    for step in range(1, 5):
        trial.report(x / step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    if x < -0.9:
        raise ValueError("astray")
    return x


def told(trials):
    """Return what must be the same whoever keeps it."""
    return [
        (t.number, t.state, t.values, t.params, t.distributions, t.user_attrs, t.system_attrs, t.intermediate_values)
        for t in trials
    ]


@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
def test_a_study_led_through_the_ledger_is_the_one_led_without(path, sampler, tmp_path):
    def parts():
        return sampler(seed=3), optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)

    _, study = opened(path, *parts())
    study.optimize(objective, n_trials=25, catch=ValueError)
    plain = optuna.create_study(
        storage=open_storage(tmp_path / "plain.db"), direction="maximize", sampler=parts()[0], pruner=parts()[1]
    )
    plain.optimize(objective, n_trials=25, catch=ValueError)
    assert told(stored(path)) == told(study.get_trials()) == told(plain.get_trials())


def write_together(path, ledger, study, trial):
    with ledger.together():
        trial.suggest_int("depth", 0, 3)
        trial.report(0.5, 1)
        trial.set_user_attr("note", "x")
        study.tell(trial, 0.5)
        assert stored(path)[0].state == TrialState.RUNNING
    assert (stored(path)[0].state, stored(path)[0].user_attrs) == (TrialState.COMPLETE, {"note": "x"})


def test_what_is_written_together_is_one_transaction(database):
    ledger, study = opened(database)
    trial = study.ask()
    commits = []
    sqlalchemy.event.listen(ledger._backend.engine, "commit", commits.append)
    write_together(database, ledger, study, trial)
    assert len(commits) == 1


def test_what_is_written_together_is_one_addition_to_a_journal(journal, monkeypatch):
    ledger, study = opened(journal)
    trial = study.ask()
    additions = []
    monkeypatch.setattr(os, "fsync", additions.append)
    write_together(journal, ledger, study, trial)
    assert len(additions) == 1


def test_of_an_addition_cut_short_the_whole_lines_count_and_a_journal_goes_on_behind_them(journal):
    """A driver is killed while it writes the last line of a block, which ends the trial."""
    ledger, study = opened(journal)
    write_together(journal, ledger, study, study.ask())
    written = journal.read_bytes()
    journal.write_bytes(written[:-20])
    assert (stored(journal)[0].state, stored(journal)[0].user_attrs) == (TrialState.RUNNING, {"note": "x"})
    _, study = opened(journal)
    assert study.tell(0, 0.25).value == 0.25
    assert stored(journal)[0].value == 0.25
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    assert journal.stat().st_size > len(written) - 20


def test_what_was_written_before_a_fault_is_kept(path):
    ledger, study = opened(path)
    trial = study.ask()

    def write_and_fail():
        with ledger.together():
            trial.set_user_attr("note", "x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert stored(path)[0].user_attrs == {"note": "x"}


def test_what_could_not_be_written_is_written_later(database):
    path = database
    ledger, study = opened(path)
    trial = study.ask()
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE trial_user_attributes RENAME TO away")
    with pytest.raises(optuna.exceptions.StorageInternalError, match="cannot be written"):
        trial.set_user_attr("note", "x")
    connection.execute("ALTER TABLE away RENAME TO trial_user_attributes")
    connection.close()
    with ledger.together():
        pass
    assert stored(path)[0].user_attrs == {"note": "x"}


def test_drivers_of_one_study_number_their_trials_apart_and_see_each_other(path):
    (one, first), (two, second) = opened(path), opened(path)
    numbers = [study.ask().number for study in (first, second, second, first)]
    assert numbers == [0, 1, 2, 3]
    first.tell(0, 0.5)
    second.tell(2, state=TrialState.PRUNED)
    for ledger, study in ((one, first), (two, second)):
        ledger.refresh()
        assert told(study.get_trials()) == told(stored(path))
        assert sorted(trial.number for trial in ledger.finished) == [0, 2]


def test_reports_of_a_trial_that_runs_elsewhere_are_seen(path):
    (one, first), (_, second) = opened(path), opened(path)
    trial = second.ask()
    one.refresh()
    trial.report(0.25, 1)
    one.refresh()
    assert first.get_trials()[0].intermediate_values == {1: 0.25}


def test_others_are_looked_for_by_themselves_after_a_while(path, monkeypatch):
    (_, first), (_, second) = opened(path), opened(path)
    second.ask()
    assert first.get_trials() == []
    monkeypatch.setattr(ledger_module, "GLANCE_SECONDS", -1.0)
    assert len(first.get_trials()) == 1


def test_a_queued_trial_is_started_by_one_driver_only(path):
    (one, first), (two, second) = opened(path), opened(path)
    first.enqueue_trial({"x": 0.5})
    one.refresh()
    two.refresh()
    taken = [first.ask(), second.ask()]
    assert [trial.number for trial in taken] == [0, 1]
    assert taken[0].suggest_float("x", 0, 1) == 0.5


def test_no_driver_begins_a_trial_while_another_one_counts(journal):
    """What is counted and what is begun upon it are one step: in between nobody writes to the journal."""
    ledger, _ = opened(journal)
    lock = journal.with_name("study.journal.lock")
    with ledger._book._file.alone():
        assert lock.exists()
        ledger._book.begin(1)
        assert lock.exists()
        with pytest.raises(GoalReachedError):
            ledger._book.begin(1)
    assert not lock.exists()
    assert len(stored(journal)) == 1


def test_what_is_noted_of_a_trial_that_someone_else_ended_is_dropped(path):
    ledger, study = opened(path)
    trial = study.ask()
    optuna.load_study(study_name="demo", storage=open_storage(path)).tell(0, state=TrialState.FAIL)
    trial.report(0.5, 1)
    ledger.refresh()
    assert stored(path)[0].state == TrialState.FAIL


def test_a_trial_that_someone_else_ended_cannot_be_ended_again(path):
    ledger, study = opened(path)
    trial = study.ask()
    optuna.load_study(study_name="demo", storage=open_storage(path)).tell(0, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        study.tell(trial, 0.5)
    assert stored(path)[0].state == TrialState.FAIL
    study.tell(study.ask(), 0.25)
    assert stored(path)[1].value == 0.25
    with pytest.raises(UpdateFinishedTrialError):
        ledger.set_trial_user_attr(ledger.get_trial_id_from_study_id_trial_number(1, 0), "note", "x")


def test_lists_that_samplers_hold_do_not_change_under_them(path):
    _, study = opened(path)
    trial = study.ask()
    held = study.get_trials(deepcopy=False)
    trial.report(0.5, 1)
    trial.set_user_attr("note", "x")
    assert (held[0].intermediate_values, held[0].user_attrs) == ({}, {})
