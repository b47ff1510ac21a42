"""Open the Optuna storage of a study, given by path or URL; every fault is one clear line.

SQLite files are opened in write-ahead mode with a busy time-out, so that the dashboard can read while the tuner writes.
A path that ends in ``.journal`` is an Optuna journal, for file systems that several machines share. Faults are found
before anything is written.
"""

import atexit
import contextlib
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote, unquote_plus

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from drft.errors import StudyError
from drft.extras import install_command
from study.storage.backend import Storage
from study.storage.journal import FIRST_BYTES, Journal

BUSY_SECONDS = 60.0
"""Seconds that a statement waits for another process to release the SQLite file."""

_SQLITE = "sqlite:///"
_JOURNAL = "journal://"
_SQLITE_MAGIC = b"SQLite format 3\x00"
_PASSWORD = re.compile(r"(?P<before>://[^:@/?]*:)(?P<password>.*)@", re.DOTALL)
_SECRET_PARAMETER = re.compile(r"(?P<name>[?&][^=&]*(?:pass|secret|token|key)[^=&]*)=(?P<value>[^&]*)", re.IGNORECASE)
_LOCK = sqlalchemy.text(f"SELECT pg_advisory_xact_lock({int.from_bytes(b'drft')})")


def study_url(results: Path, study: str) -> str:
    """Return the URL of the default storage of a study: ``results/STUDY/study.db``."""
    return f"{_SQLITE}{results / study / 'study.db'}"


def check_study_name(name: str) -> None:
    """Refuse a study name that cannot be the name of a folder.

    Raises:
        StudyError: when it contains anything but letters, digits, ``.``, ``_`` and ``-``.
    """
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise StudyError(
            f"study name {name!r}: use up to 100 letters, digits, '.', '_' and '-', starting with a letter or digit"
        )


def check_writable(folder: Path, option: str = "--results") -> None:
    """Refuse a folder in which no file can be created; nothing is left behind.

    Args:
        folder: the folder; it need not exist.
        option: the command-line option that names it.

    Raises:
        StudyError: when the folder, or its nearest existing parent, is a file or cannot be written.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise StudyError(f"folder {folder}: {nearest} is a file; choose another folder with {option}")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise StudyError(
            f"folder {folder} cannot be written ({error.strerror}); choose another folder with {option}"
        ) from None


def storage_exists(url_or_path: str | Path) -> bool:
    """Return whether a storage exists; a storage that is not a file is assumed to."""
    path = _path(_as_url(url_or_path))
    return path is None or path.exists()


def check_new_storage(url_or_path: str | Path) -> None:
    """Refuse a storage file that cannot be created; nothing is left behind.

    Raises:
        StudyError: when its folder cannot be written, or it has no file.
    """
    url = _as_url(url_or_path)
    _check_not_in_memory(url)
    path = _path(url)
    if path is not None:
        check_writable(path.parent, "--storage")


def open_storage(
    url_or_path: str | Path, *, create: bool = True, notify: Callable[[str], None] | None = None
) -> Storage:
    """Open the storage of a study, or create it.

    Args:
        url_or_path: path of a SQLite file, path of a journal (``*.journal``, or any as ``journal://PATH``), or any
            database URL that SQLAlchemy knows.
        create: whether a missing storage may be created, and a SQLite file of an older Optuna upgraded after a copy of
            it was made. Without it, a SQLite file that cannot be written is read, too.
        notify: gets a line that names this copy; None prints it to stderr.

    Raises:
        StudyError: when it is missing, unreachable, of another schema, in memory, or not an Optuna storage.
    """
    url = _as_url(url_or_path)
    _check_not_in_memory(url)
    path = _path(url)
    if path is None:
        _check_password(url)
    if path is not None and not create and not path.exists():
        raise StudyError(f"storage {path} does not exist; start a study with 'drft-study run'")
    with _one_line_errors(url):
        if path is None:
            return _open_url(url)
        if url.startswith(_JOURNAL):
            return _open_journal(path, create)
        if not create and is_read_only(url):
            path = _copy_to_read(path)
        try:
            return _open_sqlite(url, path)
        except RuntimeError as error:
            if not create or "storage upgrade" not in str(error):
                raise
        _upgrade(url, path, notify or partial(print, file=sys.stderr))
        return _open_sqlite(url, path)


def is_read_only(url_or_path: str | Path) -> bool:
    """Return whether a storage is a SQLite file that cannot be written, such as one in an archive."""
    url = _as_url(url_or_path)
    path = _path(url) if url.startswith(_SQLITE) else None
    return path is not None and path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _copy_to_read(path: Path) -> Path:
    """Copy a SQLite file that cannot be written into a temporary folder: in write-ahead mode SQLite must write to read.

    The copy is deleted when this process ends.
    """
    folder = tempfile.TemporaryDirectory(prefix="drft-read-")
    atexit.register(folder.cleanup)
    for name in (path.name, f"{path.name}-wal"):  # the second one holds the latest changes
        if (path.parent / name).exists():
            shutil.copyfile(path.parent / name, Path(folder.name, name))
    return Path(folder.name, path.name)


def close_storage(storage: Storage) -> None:
    """Close the connections of a database."""
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def spans_machines(storage: Storage) -> bool:
    """Return whether tuners on several machines can share a storage: any but a SQLite file."""
    return not (isinstance(storage, RDBStorage) and storage.engine.dialect.name == "sqlite")


def _as_url(url_or_path: str | Path) -> str:
    text = str(url_or_path)
    for scheme in ("postgresql://", "postgres://"):
        if text.startswith(scheme):
            return f"postgresql+psycopg://{text.removeprefix(scheme)}"
    if "://" in text:
        return text
    return f"{_JOURNAL if text.endswith('.journal') else _SQLITE}{text}"


def _path(url: str) -> Path | None:
    """Return the path of a storage that is a file, else None."""
    return next((Path(url.removeprefix(kind)) for kind in (_SQLITE, _JOURNAL) if url.startswith(kind)), None)


def _check_not_in_memory(url: str) -> None:
    """Refuse a SQLite database that has no file: it ends with its connection.

    Raises:
        StudyError: when there is no file.
    """
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return
    if rest.partition("?")[0].removeprefix("/") in {"", ":memory:", "file::memory:"} or "mode=memory" in rest:
        raise StudyError(
            f"storage {url} has no file, and its studies would be lost: name a file with --storage, such as study.db"
        )


def _open_journal(path: Path, create: bool) -> Journal:
    if create:
        check_writable(path.parent, "--storage")  # also for an existing journal: its lock file lies beside it
    if path.exists():
        _check_journal(path, "r+b" if create else "rb")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Journal(path.absolute())
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise StudyError(
            f"storage {path} is a damaged journal ({error!r}); choose another file with --storage"
        ) from None


def _check_journal(path: Path, mode: str) -> None:
    """Refuse a file that is not a journal, or cannot be opened in this mode. A journal may be empty."""
    if path.is_dir():
        raise StudyError(f"storage {path} is a folder; name a file with --storage")
    with path.open(mode) as file:
        if not FIRST_BYTES.startswith(file.read(len(FIRST_BYTES))):
            raise StudyError(f"storage {path} is not an Optuna journal; choose another file with --storage")


def _open_sqlite(url: str, path: Path) -> RDBStorage:
    if not path.exists():
        _make_sqlite(path)
    known = path.stat().st_size > 0 and _holds_studies(path)
    if not known:
        _use_write_ahead_log(path)  # before the tables are created: each would wait for the disk
    storage = RDBStorage(url, engine_kwargs={"creator": partial(_connect, path)}, skip_table_creation=known)
    _name_in_errors(storage, url)
    if known:
        _use_write_ahead_log(path)
    return storage


def _make_sqlite(path: Path) -> None:
    """Create the tables in a temporary file and link it, so that they appear all at once.

    Another tuner may create the file at the same time; the first one wins.
    """
    check_writable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        draft.touch()
        close_storage(_open_sqlite(f"{_SQLITE}{draft}", draft))
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            draft.rename(path)


def _upgrade(url: str, path: Path, notify: Callable[[str], None]) -> None:
    """Upgrade the tables of an older Optuna, after copying the file."""
    older = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
    copy = path.with_name(f"{path.name}.backup-{older.get_current_version()}")
    with (
        contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    older.upgrade()
    older.engine.dispose()
    notify(f"{path} was written by an older Optuna and is upgraded; {copy.name} is a copy of it as it was")


def _open_url(url: str) -> RDBStorage:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # one tuner at a time: two must not both create the tables
            connection.execute(_LOCK)
        tables = sqlalchemy.inspect(connection).get_table_names()
        known = "alembic_version" in tables
        storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True}, skip_table_creation=known)
    engine.dispose()
    _name_in_errors(storage, url)
    return storage


def _name_in_errors(storage: RDBStorage, url: str) -> None:
    """Let later errors of a database name its storage: those of a damaged SQLite file are raised as a StudyError."""

    def name(context: ExceptionContext) -> None:
        if _is_damage(context.original_exception):
            raise StudyError(_damaged(url, context.original_exception))
        if context.sqlalchemy_exception is not None:
            reason = _without_secrets(_first_line(context.sqlalchemy_exception), url)
            context.sqlalchemy_exception.add_note(f"storage {public_url(url)} cannot be read or written: {reason}")

    sqlalchemy.event.listen(storage.engine, "handle_error", name)


def _is_damage(error: BaseException) -> bool:
    """Return whether SQLite says that its file is damaged. Its subclasses have other reasons, such as a locked file."""
    return type(error) is sqlite3.DatabaseError


def _damaged(url: str, error: BaseException) -> str:
    return f"storage {public_url(url)} cannot be read: {_first_line(error)}; restore it from a backup"


def storage_fault(error: Exception) -> str | None:
    """Return an error of a database, or of a journal, that is open as one line; None for any other error."""
    cause = (error.__cause__ or error) if isinstance(error, optuna.exceptions.StorageInternalError) else error
    if cause is error and not isinstance(error, DBAPIError | optuna.exceptions.StorageInternalError):
        return None
    fault = next(iter(getattr(cause, "__notes__", ())), f"the study's storage cannot be used: {_first_line(cause)}")
    return f"{fault}; check that it is reachable and whole, then run the same command again"


def _holds_studies(path: Path) -> bool:
    """Return whether a file has the tables of a storage; refuse other files and databases of other programs."""
    with path.open("rb") as file:
        if file.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
            raise StudyError(f"storage {path} is not a SQLite database; choose another file with --storage")
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and not {"studies", "trials", "version_info", "alembic_version"} <= tables:
        raise StudyError(f"storage {path} is a database of another program; choose another file with --storage")
    return bool(tables)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    # In write-ahead mode, NORMAL keeps every commit when this program crashes. Only a power failure can undo the last
    # commits; their trials are then run again.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _use_write_ahead_log(path: Path) -> None:
    """Switch the file to write-ahead mode, which is permanent."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StudyError(
            f"storage {path}: this file system does not support SQLite's write-ahead mode; keep results on a local "
            "disk or name a PostgreSQL database with --storage"
        )


@contextlib.contextmanager
def _one_line_errors(url: str) -> Iterator[None]:
    """Raise errors of databases as one line without the password."""
    try:
        yield
    except ModuleNotFoundError as error:
        advice = f"run: {install_command('postgres')}" if error.name == "psycopg" else f"install {error.name}"
        raise StudyError(f"storage {public_url(url)} needs one more package; {advice}") from None
    except (ArgumentError, ImportError, ValueError) as error:  # ValueError: a port that is no number
        raise StudyError(f"storage {public_url(url)}: {_without_secrets(_first_line(error), url)}") from None
    except (SQLAlchemyError, sqlite3.Error, OSError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        original = cause.orig if isinstance(cause, DBAPIError) and cause.orig else cause
        if _is_damage(original):
            raise StudyError(_damaged(url, original)) from None
        reason = _without_secrets(_first_line(cause), url)
        raise StudyError(f"storage {public_url(url)} cannot be opened: {reason}") from None
    except RuntimeError as error:
        advice = "'drft-study run' upgrades a SQLite file; else back it up and run 'optuna storage upgrade'"
        if "upgrade" not in str(error):
            advice = "it was written by a newer Optuna: update optuna, or choose another with --storage"
        raise StudyError(
            f"storage {public_url(url)} has another schema than Optuna {optuna.__version__}: {advice}"
        ) from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def public_url(url: str) -> str:
    """Return a URL without its password; for a file, its path.

    All from the first colon to the last ``@`` counts as the password, so that none is shown in part if it contains
    characters that should be encoded; and so do parameters such as ``?password=``.
    """
    if (path := _path(url)) is not None:
        return str(path)
    public = _PASSWORD.sub(r"\g<before>***@", url)
    return _SECRET_PARAMETER.sub(r"\g<name>=***", public)


def _check_password(url: str) -> None:
    """Refuse a password with an ``@`` that is not encoded: what follows would be taken for the host and be shown.

    Raises:
        StudyError: when there is more than one ``@`` before the parameters.
    """
    if url.partition("?")[0].count("@") > 1:
        raise StudyError(
            f"storage {public_url(url)}: its password contains an @; write it encoded in the URL: @ as %40, : as %3A, "
            "/ as %2F"
        )


def _without_secrets(text: str, url: str) -> str:
    """Return a message of a library without the passwords of a URL, whether it has them encoded or decoded."""
    secrets = [found["password"] for found in _PASSWORD.finditer(url) if found["password"]]
    secrets += [found["value"] for found in _SECRET_PARAMETER.finditer(url)]
    for secret in sorted({*secrets, *map(unquote, secrets), *map(unquote_plus, secrets)} - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
