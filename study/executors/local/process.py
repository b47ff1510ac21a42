"""The processes that torch runs in. They come from one that has imported it: what takes seconds is done once.

On Linux they are forked from a server (Python's ``forkserver``) that imports and does nothing else. It is no fork of
the driver and has one thread, so none of them inherits a CUDA context, a lock or an open database. Elsewhere they are
spawned, and each imports for itself.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

CONTEXT: "ForkServerContext | SpawnContext" = (
    multiprocessing.get_context("forkserver") if sys.platform == "linux" else multiprocessing.get_context("spawn")
)

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that say how many CPU threads the libraries may use."""

MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "THP_MEM_ALLOC_ENABLE": "1"}
"""Tells glibc to keep freed memory and torch to ask for huge pages: a training frees and asks for the same large
tensors in every step, and pages that the system takes back and clears in between cost a third of the step."""


def warm_up() -> None:
    """Start the server where there is none yet: it imports torch while this process does something else."""
    if CONTEXT.get_start_method() != "forkserver":
        return
    CONTEXT.set_forkserver_preload(["study.executors.local.preload"])
    resource_tracker.ensure_running()  # else it starts with the server, and lets Ctrl-C through again
    with _environment({**MEMORY, **dict.fromkeys(THREADS, "1")}), _without_ctrl_c():
        forkserver.ensure_running()


def start(target: Callable[..., None], *args: object, name: str, environment: Mapping[str, str]) -> BaseProcess:
    """Start a process that calls ``target`` with the arguments.

    Its environment is this process's of now, with ``environment`` laid over it; what libraries read when they are
    imported, they may have read before. It ends with this process.
    """
    warm_up()
    everything = {**os.environ, **environment}
    process = CONTEXT.Process(target=_begin, args=(everything, target, args), name=name)
    with _environment(environment):  # a spawned process needs it from its first moment
        process.start()
    return process


def obituary(exitcode: int | None) -> str:
    """Say how a process ended."""
    if exitcode is None or exitcode >= 0:
        return f"left with exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    hint = " (often the system's answer to a lack of memory: try fewer --jobs)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _begin(environment: Mapping[str, str], target: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Become a process of the driver: with its environment, deaf to Ctrl-C, and gone when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to decide on
    os.environ.clear()
    os.environ.update(environment)
    _show_name()
    _leave_with_driver()
    gc.freeze()  # what was imported is no garbage; unvisited by the collector, its memory stays shared
    target(*args)


def _show_name() -> None:
    """Let ``top`` and ``ps`` show the name of this process, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(multiprocessing.current_process().name)


def _leave_with_driver() -> None:
    """End this process the moment the driver ends, even in the middle of an epoch."""
    driver = multiprocessing.parent_process()
    assert driver is not None

    def watch() -> None:
        driver.join()
        os._exit(1)

    threading.Thread(target=watch, name="driver-watch", daemon=True).start()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started within."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back; a process started within never hears of it, not even while it imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
