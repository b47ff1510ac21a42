"""A storage that goes away for a while: the driver waits, tells, and goes on."""

import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from drft.errors import StudyError
from study.tuner.interrupt import Interrupt

LIMIT_SECONDS = 600.0
"""So long a storage may be away; a server that restarts, or a machine that fails over, takes less."""

_LONGEST_PAUSE = 5.0
_PERMANENT = ("no such table", "no such column", "syntax error", "does not exist")
"""What databases say that waiting does not mend."""

T = TypeVar("T")


class Reconnect:
    """Does things with a storage, again and again while it is away.

    What is done must be such that doing it twice is no harm: a commit may have reached a server that went away before
    it could say so.

    Args:
        tell: told once when the storage is away, and once when it is back.
        interruption: lets the user end the waiting.
        limit: seconds after which waiting ends.
    """

    def __init__(
        self,
        tell: Callable[[str], None] = lambda _line: None,
        interruption: Interrupt | None = None,
        limit: float = LIMIT_SECONDS,
    ) -> None:
        self._tell = tell
        self._interruption = interruption or Interrupt()
        self._limit = limit

    def __call__(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns, as soon as the storage lets it.

        Raises:
            StudyError: when the storage stays away, or the user does not want to wait.
        """
        since, pause = 0.0, 0.1
        while True:
            try:
                found = act()
            except (DBAPIError, StorageInternalError) as error:
                cause = error if isinstance(error, DBAPIError) else error.__cause__
                if not _is_away(cause):
                    raise
                since = self._note(since, str(cause))
            else:
                if since:
                    self._tell(f"the storage is back after {time.monotonic() - since:.0f} s")
                return found
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _note(self, since: float, why: str) -> float:
        """Tell of an outage that begins, end one that lasts too long; return its beginning."""
        reason = why.strip().splitlines()[0]
        if not since:
            self._tell(f"the storage does not answer ({reason}): waiting for it, nothing is lost")
            return time.monotonic()
        if self._interruption.now or time.monotonic() - since > self._limit:
            self._limit = 0.0  # nor shall what is done on the way out wait
            raise StudyError(f"the storage does not answer ({reason}): run the same command when it is back")
        return since


def _is_away(error: BaseException | None) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OSError):
        return True  # a file that cannot be used now: a full disk, a file system of which the server is away
    return isinstance(error, OperationalError | InterfaceError) and not any(said in str(error) for said in _PERMANENT)
