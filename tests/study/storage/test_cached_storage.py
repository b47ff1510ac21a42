"""``CachedStorage`` equals Optuna's own storages, sees other tuners, and writes in few transactions."""

import json
import math
import sqlite3

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from study.storage import cached_storage, optuna_internals
from study.storage.backend import GoalReachedError
from study.storage.cached_storage import CachedStorage, make_backend
from study.storage.open import open_storage
from study.storage.optuna_internals import BatchedRDBBackend
from study.storage.plain_backend import PlainBackend


@pytest.fixture
def database(tmp_path):
    return create_study(tmp_path / "study.db")


@pytest.fixture
def journal(tmp_path):
    return create_study(tmp_path / "study.journal")


@pytest.fixture(params=["database", "journal", "fallback"])
def path(request, monkeypatch):
    """A storage with an empty study: a database, a journal, a database with an Optuna whose tables we do not know."""
    if request.param == "fallback":
        monkeypatch.setattr(cached_storage, "check_batched_rdb_backend", lambda: "Optuna has other tables")
        return request.getfixturevalue("database")
    return request.getfixturevalue(request.param)


def create_study(path):
    optuna.create_study(study_name="demo", storage=open_storage(path), direction="maximize")
    return path


def open_cached(path, sampler=None, pruner=None):
    storage = open_storage(path)
    cached = CachedStorage(storage, storage.get_study_id_from_name("demo"))
    return cached, optuna.load_study(study_name="demo", storage=cached, sampler=sampler, pruner=pruner)


def stored(path):
    """Return all trials as Optuna itself reads them."""
    return optuna.load_study(study_name="demo", storage=open_storage(path)).get_trials()


def objective(trial):
    """Write everything that a trial can have."""
    x = trial.suggest_float("x", -1, 1)
    kind = trial.suggest_categorical("kind", ("a", "b"))
    trial.set_user_attr("list", [1, {"two": None}])
    trial.set_user_attr("list", [kind])
    for step in range(1, 5):
        trial.report(x / step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    if x < -0.9:
        raise ValueError("too small")
    return x


def content(trials):
    """Return what must be equal in all storages."""
    return [
        (t.number, t.state, t.values, t.params, t.distributions, t.user_attrs, t.system_attrs, t.intermediate_values)
        for t in trials
    ]


@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
def test_a_study_equals_the_study_in_optunas_own_storage(path, sampler, tmp_path):
    def parts():
        return sampler(seed=3), optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)

    _, study = open_cached(path, *parts())
    study.optimize(objective, n_trials=25, catch=ValueError)
    plain = optuna.create_study(
        storage=open_storage(tmp_path / "plain.db"), direction="maximize", sampler=parts()[0], pruner=parts()[1]
    )
    plain.optimize(objective, n_trials=25, catch=ValueError)
    assert content(stored(path)) == content(study.get_trials()) == content(plain.get_trials())


def write_batch(path, cached, study, trial):
    with cached.batch():
        trial.suggest_int("depth", 0, 3)
        trial.report(0.5, 1)
        trial.set_user_attr("note", "x")
        study.tell(trial, 0.5)
        assert stored(path)[0].state == TrialState.RUNNING
    assert (stored(path)[0].state, stored(path)[0].user_attrs) == (TrialState.COMPLETE, {"note": "x"})


def test_a_batch_is_one_transaction(database):
    cached, study = open_cached(database)
    trial = study.ask()
    commits = []
    sqlalchemy.event.listen(cached._storage.engine, "commit", commits.append)
    write_batch(database, cached, study, trial)
    assert len(commits) == 1


def test_a_batch_is_written_at_its_end(path):
    cached, study = open_cached(path)
    write_batch(path, cached, study, study.ask())


def test_a_journal_is_continued_behind_a_line_that_was_cut_off(journal):
    """A tuner is killed while it writes the last line of a batch, which ends the trial."""
    cached, study = open_cached(journal)
    write_batch(journal, cached, study, study.ask())
    written = journal.read_bytes()
    journal.write_bytes(written[:-20])
    assert (stored(journal)[0].state, stored(journal)[0].user_attrs) == (TrialState.RUNNING, {"note": "x"})
    _, study = open_cached(journal)
    assert study.tell(0, 0.25).value == 0.25
    assert stored(journal)[0].value == 0.25
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    assert journal.stat().st_size > len(written) - 20


def test_what_was_written_before_an_error_is_kept(path):
    cached, study = open_cached(path)
    trial = study.ask()

    def write_and_fail():
        with cached.batch():
            trial.set_user_attr("note", "x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert stored(path)[0].user_attrs == {"note": "x"}


def test_what_could_not_be_written_is_written_later(database):
    cached, study = open_cached(database)
    trial = study.ask()
    connection = sqlite3.connect(database)
    connection.execute("ALTER TABLE trial_user_attributes RENAME TO away")
    with pytest.raises(optuna.exceptions.StorageInternalError, match="cannot be written"):
        trial.set_user_attr("note", "x")
    connection.execute("ALTER TABLE away RENAME TO trial_user_attributes")
    connection.close()
    with cached.batch():
        pass
    assert stored(database)[0].user_attrs == {"note": "x"}


def test_tuners_of_one_study_number_their_trials_consecutively_and_see_each_other(path):
    (one, first), (two, second) = open_cached(path), open_cached(path)
    numbers = [study.ask().number for study in (first, second, second, first)]
    assert numbers == [0, 1, 2, 3]
    first.tell(0, 0.5)
    second.tell(2, state=TrialState.PRUNED)
    for cached, study in ((one, first), (two, second)):
        cached.refresh()
        assert content(study.get_trials()) == content(stored(path))
        assert sorted(trial.number for trial in cached.finished) == [0, 2]


def test_reports_of_a_trial_of_another_tuner_are_seen(path):
    (one, first), (_, second) = open_cached(path), open_cached(path)
    trial = second.ask()
    one.refresh()
    trial.report(0.25, 1)
    one.refresh()
    assert first.get_trials()[0].intermediate_values == {1: 0.25}


def test_other_tuners_are_read_again_after_a_while(path, monkeypatch):
    monkeypatch.setattr(cached_storage, "REFRESH_SECONDS", math.inf)
    (_, first), (_, second) = open_cached(path), open_cached(path)
    second.ask()
    assert first.get_trials() == []
    monkeypatch.setattr(cached_storage, "REFRESH_SECONDS", -1.0)
    assert len(first.get_trials()) == 1


def test_a_queued_trial_is_started_by_one_tuner_only(path):
    (one, first), (two, second) = open_cached(path), open_cached(path)
    first.enqueue_trial({"x": 0.5})
    one.refresh()
    two.refresh()
    trials = [first.ask(), second.ask()]
    assert [trial.number for trial in trials] == [0, 1]
    assert trials[0].suggest_float("x", 0, 1) == 0.5


def test_no_tuner_starts_a_trial_while_another_one_counts(journal):
    """Counting trials and starting one are one step: in between, no process writes to the journal."""
    cached, _ = open_cached(journal)
    lock = journal.with_name("study.journal.lock")
    with cached._storage.file.exclusive():
        assert lock.exists()
        cached._backend.create(1)
        assert lock.exists()
        with pytest.raises(GoalReachedError):
            cached._backend.create(1)
    assert not lock.exists()
    assert len(stored(journal)) == 1


def test_changes_of_a_trial_that_another_process_ended_are_dropped(path):
    cached, study = open_cached(path)
    trial = study.ask()
    optuna.load_study(study_name="demo", storage=open_storage(path)).tell(0, state=TrialState.FAIL)
    trial.report(0.5, 1)
    cached.refresh()
    assert stored(path)[0].state == TrialState.FAIL


def test_a_trial_that_another_process_ended_cannot_be_ended_again(path):
    cached, study = open_cached(path)
    trial = study.ask()
    optuna.load_study(study_name="demo", storage=open_storage(path)).tell(0, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        study.tell(trial, 0.5)
    assert stored(path)[0].state == TrialState.FAIL
    study.tell(study.ask(), 0.25)
    assert stored(path)[1].value == 0.25
    with pytest.raises(UpdateFinishedTrialError):
        cached.set_trial_user_attr(cached.get_trial_id_from_study_id_trial_number(1, 0), "note", "x")


def test_lists_that_samplers_hold_do_not_change(path):
    _, study = open_cached(path)
    trial = study.ask()
    trials = study.get_trials(deepcopy=False)
    trial.report(0.5, 1)
    trial.set_user_attr("note", "x")
    assert (trials[0].intermediate_values, trials[0].user_attrs) == ({}, {})


def test_the_installed_optuna_has_the_tables_of_batched_writes(database):
    assert optuna_internals.check_batched_rdb_backend() is None
    assert isinstance(make_backend(open_storage(database), 1), BatchedRDBBackend)


def test_other_tables_are_a_reason_for_plain_writes(database, monkeypatch):
    monkeypatch.setitem(optuna_internals._COLUMNS, "TrialModel", {"trial_id", "colour"})
    optuna_internals.check_batched_rdb_backend.cache_clear()
    messages = []
    assert isinstance(make_backend(open_storage(database), 1, messages.append), PlainBackend)
    assert "has no TrialModel with the columns colour" in messages[0]
    optuna_internals.check_batched_rdb_backend.cache_clear()
