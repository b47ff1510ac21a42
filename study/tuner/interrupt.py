"""Ctrl-C and SIGTERM as flags instead of exceptions, so that no write is interrupted halfway."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """The user's request to stop.

    The first Ctrl-C asks to finish the running trials, the second to stop at once, as SIGTERM does. The third raises
    ``KeyboardInterrupt``.
    """

    def __init__(self) -> None:
        self._signals = 0
        self._announced = False
        self._changed = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether no new trial may start."""
        return self._signals > 0

    @property
    def immediate(self) -> bool:
        """Whether to stop without waiting for running trials."""
        return self._signals > 1

    def announce(self) -> bool:
        """Return True once, after the user asked to finish the running trials."""
        new = self.requested and not self.immediate and not self._announced
        self._announced = self._announced or new
        return new

    def wait(self, seconds: float) -> bool:
        """Wait until the user asks to stop, at most so many seconds; return whether the user did."""
        return self._changed.wait(seconds)

    @contextmanager
    def catch_signals(self) -> Iterator[None]:
        """Handle signals inside the ``with`` block; Python allows that in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.immediate:
            raise KeyboardInterrupt
        self._signals = 2 if number == signal.SIGTERM else self._signals + 1
        self._changed.set()
