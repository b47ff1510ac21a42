"""Storages: WAL mode, and one sentence for whatever is wrong, with nothing written."""

import os
import sqlite3

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import OperationalError

from drft.errors import StudyError
from study.storage.open import (
    check_new_storage,
    check_study_name,
    check_writable,
    open_storage,
    spans_machines,
    storage_exists,
    storage_fault,
    study_url,
)


def listing(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def query(path, sql):
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(sql).fetchall()
        connection.commit()
    finally:
        connection.close()
    return rows


def test_a_new_storage_creates_its_folder_and_writes_ahead(tmp_path):
    url = study_url(tmp_path, "demo")
    assert not storage_exists(url)
    open_storage(url)
    assert storage_exists(url)
    assert query(tmp_path / "demo/study.db", "PRAGMA journal_mode") == [("wal",)]


def test_an_existing_storage_is_opened_by_path_and_by_url(tmp_path):
    path = tmp_path / "study.db"
    optuna.create_study(study_name="demo", storage=open_storage(path))
    for place in (path, str(path), f"sqlite:///{path}"):
        assert open_storage(place, create=False).get_study_id_from_name("demo") == 1


def test_a_journal_is_opened_by_its_suffix_and_by_url(tmp_path):
    path = tmp_path / "shared" / "study.journal"
    assert not storage_exists(path)
    optuna.create_study(study_name="demo", storage=open_storage(path))
    for place in (path, str(path), f"journal://{path}"):
        assert storage_exists(place)
        assert open_storage(place, create=False).get_all_studies()[0].study_name == "demo"
    assert listing(tmp_path).keys() == {path}


def test_a_journal_is_read_and_written_by_optuna_itself(tmp_path):
    path = tmp_path / "study.log"
    plain = JournalStorage(JournalFileBackend(str(path)))
    optuna.create_study(study_name="demo", storage=plain)
    ours = optuna.load_study(study_name="demo", storage=open_storage(f"journal://{path}"))
    ours.enqueue_trial({"x": 0.5})
    assert optuna.load_study(study_name="demo", storage=plain).ask().suggest_float("x", 0, 1) == 0.5
    assert ours.trials[0].params == {"x": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("my shopping list, without an end of the line", "is not an Optuna journal"),
        ("{}\n", "is not an Optuna journal"),
        ('{"op_code":2,"worker_id":"a"}\n', "is a damaged journal"),
        ('{"op_code":77,"worker_id":"a"}\n', "is a damaged journal"),
        ('{"op_code":0,\n{"op_code":0,"worker_id":"a"}\n', "is a damaged journal"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_not_a_journal_is_refused_and_not_changed(tmp_path, content, message, create):
    path = tmp_path / "study.journal"
    path.write_text(content)
    before = listing(tmp_path)
    with pytest.raises(StudyError, match=message) as caught:
        open_storage(path, create=create)
    assert len(str(caught.value).splitlines()) == 1
    assert listing(tmp_path) == before


def test_a_journal_of_a_tuner_killed_in_its_first_line_is_continued(tmp_path):
    path = tmp_path / "study.journal"
    path.write_text('{"op_c')
    assert open_storage(path, create=False).get_all_studies() == []
    optuna.create_study(study_name="demo", storage=open_storage(path))
    assert len(open_storage(path).get_all_studies()) == 1


@pytest.mark.filterwarnings("ignore:The value of `grace_period`")
def test_the_lock_of_a_killed_tuner_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr("study.storage.journal._GRACE_SECONDS", 1)
    optuna.create_study(storage=open_storage(tmp_path / "a.journal"), study_name="before")
    (tmp_path / "a.journal.lock").touch()  # as a tuner leaves it that is killed while it writes
    storage = open_storage(tmp_path / "a.journal")
    optuna.create_study(storage=storage, study_name="after")
    assert [study.study_name for study in storage.get_all_studies()] == ["before", "after"]
    assert not (tmp_path / "a.journal.lock").exists()


@pytest.mark.parametrize("create", [True, False])
def test_a_folder_is_not_a_journal(tmp_path, create):
    with pytest.raises(StudyError, match="is a folder; name a file with --storage"):
        open_storage(f"journal://{tmp_path}", create=create)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_journal_that_cannot_be_written_is_read_only(tmp_path):
    path = tmp_path / "study.journal"
    optuna.create_study(study_name="demo", storage=open_storage(path))
    path.chmod(0o400)
    with pytest.raises(StudyError, match=r"cannot be opened: .*Permission denied"):
        open_storage(path)
    assert len(open_storage(path, create=False).get_all_studies()) == 1


def test_a_journal_is_refused_where_no_file_can_be_created(tmp_path):
    with pytest.raises(StudyError, match=r"cannot be written .*; choose another folder with --storage"):
        open_storage("journal:///proc/study.journal")
    (tmp_path / "file").touch()
    for refuse in (open_storage, check_new_storage):
        with pytest.raises(StudyError, match="is a file; choose another folder with --storage"):
            refuse(tmp_path / "file" / "study.journal")


def test_all_storages_but_sqlite_span_machines(tmp_path):
    assert not spans_machines(open_storage(tmp_path / "study.db"))
    assert spans_machines(open_storage(tmp_path / "study.journal"))


def test_reading_does_not_create_a_missing_storage(tmp_path):
    for name in ("study.db", "study.journal"):
        with pytest.raises(StudyError, match=rf"{name} does not exist"):
            open_storage(tmp_path / "a" / name, create=False)
    assert list(tmp_path.iterdir()) == []


def test_another_schema_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "study.db"
    open_storage(path).engine.dispose()
    query(path, "UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    before = query(path, "SELECT * FROM version_info"), query(path, "SELECT * FROM alembic_version")
    with pytest.raises(StudyError, match="another schema"):
        open_storage(path)
    assert before == (query(path, "SELECT * FROM version_info"), query(path, "SELECT * FROM alembic_version"))


def older_storage(path):
    """Make a storage as Optuna 3.1 did: without an index that 3.2 added."""
    optuna.create_study(study_name="demo", storage=open_storage(path)).add_trial(optuna.trial.create_trial(value=0.5))
    query(path, "DROP INDEX trials_study_id_key") if query(
        path, "SELECT 1 FROM sqlite_master WHERE name = 'trials_study_id_key'"
    ) else query(path, "DROP INDEX ix_trials_study_id")
    query(path, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")


def test_an_older_schema_is_upgraded_after_a_copy(tmp_path):
    path, messages = tmp_path / "study.db", []
    older_storage(path)
    storage = open_storage(path, notify=messages.append)
    assert storage.get_current_version() == storage.get_head_version()
    assert optuna.load_study(study_name="demo", storage=storage).best_value == 0.5
    copy = tmp_path / "study.db.backup-v3.0.0.d"
    assert len(messages) == 1
    assert copy.name in messages[0]
    assert query(copy, "SELECT version_num FROM alembic_version") == [("v3.0.0.d",)]
    assert query(copy, "SELECT count(*) FROM trials") == [(1,)]
    open_storage(path, notify=messages.append)
    assert len(messages) == 1


def test_reading_does_not_upgrade_the_schema(tmp_path):
    path = tmp_path / "study.db"
    older_storage(path)
    with pytest.raises(StudyError, match=r"another schema.*drft-study run"):
        open_storage(path, create=False)
    assert query(path, "SELECT version_num FROM alembic_version") == [("v3.0.0.d",)]


def test_a_file_that_is_not_a_database_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "study.db"
    path.write_text("my shopping list, which is long enough")
    before = listing(tmp_path)
    with pytest.raises(StudyError, match="not a SQLite database"):
        open_storage(path)
    assert listing(tmp_path) == before


def test_a_database_of_another_program_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "study.db"
    query(path, "CREATE TABLE songs (name TEXT)")
    before = listing(tmp_path)
    with pytest.raises(StudyError, match="another program"):
        open_storage(path)
    assert listing(tmp_path) == before


def test_a_file_of_a_tuner_killed_before_the_tables_is_used(tmp_path):
    path = tmp_path / "study.db"
    query(path, "PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0
    optuna.create_study(study_name="demo", storage=open_storage(path))


@pytest.mark.parametrize("url", ["nonsense://x", "postgresql+nodriver://u:secret@localhost/x", "mysql://"])
def test_urls_that_cannot_be_opened_are_one_line_without_the_password(url):
    with pytest.raises(StudyError, match="storage") as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)
    assert len(caught.value.faults) == 1


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(StudyError, match="is a file"):
        open_storage(tmp_path / "results" / "demo" / "study.db")


def test_checking_a_folder_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "x" * 101])
def test_study_names_that_cannot_be_folders_are_refused(name):
    with pytest.raises(StudyError, match="study name"):
        check_study_name(name)


@pytest.mark.parametrize("name", ["demo", "default-synthetic-mobilenetv3_small_050", "2026.11"])
def test_plain_study_names_are_accepted(name):
    assert check_study_name(name) is None


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        ":memory:",
        "sqlite+pysqlite://",
        "sqlite+pysqlite:///:memory:",
        "sqlite+pysqlite:///file::memory:?cache=shared&uri=true",
        "sqlite+pysqlite:///file:demo?mode=memory&uri=true",
    ],
)
def test_a_database_without_a_file_is_refused(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (open_storage, check_new_storage):
        with pytest.raises(StudyError, match="has no file, and its studies would be lost: name a file") as caught:
            function(url)
        assert len(str(caught.value).splitlines()) == 1
    assert listing(tmp_path) == {}


def test_pages_damaged_after_opening_are_named(tmp_path):
    path = tmp_path / "study.db"
    storage = open_storage(path)
    optuna.create_study(study_name="demo", storage=storage).ask()
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    storage.engine.dispose()
    size = query(path, "PRAGMA page_size")[0][0]
    page = query(path, "SELECT rootpage FROM sqlite_master WHERE name = 'trials'")[0][0]
    content = path.read_bytes()
    path.write_bytes(content[: (page - 1) * size] + b"\x55" * size + content[page * size :])
    with pytest.raises(
        StudyError, match=r"storage .*study\.db cannot be read: .*; restore it from a backup$"
    ) as caught:
        storage.get_all_trials(1)
    assert len(str(caught.value).splitlines()) == 1


def test_errors_of_an_open_database_that_is_not_damaged_stay_those_of_sqlalchemy(tmp_path):
    path = tmp_path / "study.db"
    storage = open_storage(path)
    optuna.create_study(study_name="demo", storage=storage).ask()
    query(path, "DROP TABLE trial_params")
    with pytest.raises((StorageInternalError, OperationalError)) as caught:
        storage.get_all_trials(1)
    line = storage_fault(caught.value)
    assert line.startswith(f"storage {path} cannot be read or written: ")
    assert "no such table: trial_params" in line
    assert len(line.splitlines()) == 1


def test_errors_of_the_program_are_no_errors_of_a_storage():
    assert storage_fault(ValueError("wrong")) is None
