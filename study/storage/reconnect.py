"""Calls to a storage that does not answer for a while: wait, tell the user, and call again."""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from drft.errors import StudyError

LIMIT_SECONDS = 600.0
"""Longest outage of a storage. A server that restarts, or fails over to another machine, takes less."""

_LONGEST_PAUSE = 5.0
_PERMANENT = ("no such table", "no such column", "syntax error", "does not exist")
"""Parts of database errors that waiting does not fix."""

P = ParamSpec("P")
T = TypeVar("T")


class Reconnect:
    """Calls functions of a storage until it answers.

    Calling such a function twice must do no harm: a server can fail after it committed and before it answered.

    Args:
        notify: gets a line when the storage does not answer, and one when it answers again.
        stop_requested: whether the user wants to stop at once, which ends the waiting.
        limit: seconds after which waiting ends.
    """

    def __init__(
        self,
        notify: Callable[[str], None] = lambda _line: None,
        stop_requested: Callable[[], bool] = lambda: False,
        limit: float = LIMIT_SECONDS,
    ) -> None:
        self.notify = notify
        self._stop_requested = stop_requested
        self._limit = limit

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args, **kwargs)`` as soon as the storage answers.

        Raises:
            StudyError: when the outage is longer than the limit, or the user does not want to wait.
        """
        since, pause = 0.0, 0.1
        while True:
            try:
                result = function(*args, **kwargs)
            except (DBAPIError, StorageInternalError) as error:
                cause = error if isinstance(error, DBAPIError) else error.__cause__
                if not _is_outage(cause):
                    raise
                reason = str(cause).strip().splitlines()[0]
            else:
                if since:
                    self.notify(f"the storage is back after {time.monotonic() - since:.0f} s")
                return result
            if not since:
                since = time.monotonic()
                self.notify(f"the storage does not answer ({reason}): waiting for it, nothing is lost")
            elif self._stop_requested() or time.monotonic() - since > self._limit:
                self._limit = 0.0  # calls that end the run must not wait again
                raise StudyError(f"the storage does not answer ({reason}): run the same command when it is back")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _is_outage(error: BaseException | None) -> bool:
    """Return whether an error can pass by itself: a lost connection, a locked file, a full disk, a lost file server."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OSError):
        return True
    return isinstance(error, OperationalError | InterfaceError) and not any(
        message in str(error) for message in _PERMANENT
    )
