"""A study in Optuna's journal: a file to which every change is appended as a line, on any shared file system."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

FIRST_BYTES = b'{"op_code":'
"""The first bytes of every line of a journal."""

_GRACE_SECONDS = 30
"""A lock that is older was left by a killed process: a change is written in milliseconds."""


class Journal(JournalStorage):
    """Optuna's journal in a file.

    Args:
        path: the file; it is created when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.file = JournalFile(path)
        super().__init__(self.file)


class JournalFile(JournalFileBackend):
    """Optuna's journal file, which survives lines that were cut off and names its faults as faults of a storage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._journal_lock = _ReentrantLock(str(path))
        super().__init__(str(path), self._journal_lock)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from writing inside the ``with`` block."""
        with _storage_errors():
            self._journal_lock.acquire()
            try:
                yield
            finally:
                self._journal_lock.release()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # a generator too
        """Read the lines from a number on."""
        with _storage_errors():
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines after the last whole line.

        Raises:
            StorageInternalError: when the file cannot be written.
        """
        with self.exclusive():
            self._cut_off_partial_line()
            super().append_logs(logs)

    def _cut_off_partial_line(self) -> None:
        """Remove a line without an end, which a killed process or a full disk left.

        Optuna cannot read anything that is appended behind it: the study would be lost.
        """
        with self._path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)


class _ReentrantLock(JournalFileOpenLock):
    """Optuna's lock file beside a journal, which its holder may acquire again.

    Optuna has two locks with the same file; this one needs no symbolic links. When a killed process leaves its lock,
    others take it over after half a minute. For that, Optuna's lock calls its own ``release``, which must not be the
    one that counts here: the lock is therefore an object of its own.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, _GRACE_SECONDS)
        self._lock = JournalFileOpenLock(path, _GRACE_SECONDS)
        self._depth = 0

    def acquire(self) -> bool:
        if not self._depth:
            self._lock.acquire()
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if not self._depth:
            # Another process took the lock over if this one slept for half a minute; what was written stays.
            with contextlib.suppress(RuntimeError):
                self._lock.release()


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """Raise operating-system errors as errors of the storage."""
    try:
        yield
    except OSError as error:
        raise StorageInternalError(f"the study's journal cannot be read or written: {error}") from error
