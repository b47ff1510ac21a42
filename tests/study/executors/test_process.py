"""Workers start whole: nothing breaks off what is asked of the fork server."""

import os
import signal
import threading

import pytest

from study.executors.local.process import CONTEXT, start


@pytest.fixture
def other_thread():
    """A thread that gets the signals which the main thread blocks."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def interruptible():
    """Ctrl-C raises, as in a program in the foreground; a shell lets programs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible", "other_thread")
def test_an_interruption_waits_until_the_worker_has_started(monkeypatch):
    begin, started = CONTEXT.Process.start, []

    def interrupted(process):
        os.kill(os.getpid(), signal.SIGINT)
        begin(process)
        started.append(process)

    monkeypatch.setattr(CONTEXT.Process, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(print, name="drft-test", environment={})
    (process,) = started
    process.join()
    assert process.exitcode == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
