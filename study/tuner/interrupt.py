"""Ctrl-C and SIGTERM, noted instead of raised, so that no commit is cut in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """What the user asked for: to end when the trials under way have, or to end now.

    The first Ctrl-C asks for the former and the second for the latter, as does SIGTERM: who sends it will not wait. The
    one after that raises ``KeyboardInterrupt``.
    """

    def __init__(self) -> None:
        self._signals = 0
        self._told = False
        self._changed = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether no new trial shall start."""
        return self._signals > 0

    @property
    def now(self) -> bool:
        """Whether nothing shall be waited for."""
        return self._signals > 1

    def is_news(self) -> bool:
        """Return, once, that the user wants the run to end when what is under way has ended."""
        news = self.asked and not self.now and not self._told
        self._told = self._told or news
        return news

    def wait(self, seconds: float) -> bool:
        """Wait, at most until the user asks for something; return whether the user did."""
        return self._changed.wait(seconds)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Take signals within; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.now:
            raise KeyboardInterrupt
        self._signals = 2 if number == signal.SIGTERM else self._signals + 1
        self._changed.set()
