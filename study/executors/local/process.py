"""Worker processes. They are forked from a process that has imported torch, so the import is paid for once.

On Linux this process is Python's ``forkserver``. It imports and does nothing else: it is no fork of the tuner and has
one thread, so workers inherit no CUDA context, lock or open database. On other systems workers are spawned, and each
imports torch itself.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drft.files.scratch import ScratchFolder
from drft.python_path import child_environment

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

CONTEXT: "ForkServerContext | SpawnContext" = (
    multiprocessing.get_context("forkserver") if sys.platform == "linux" else multiprocessing.get_context("spawn")
)

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables for the number of CPU threads of numerical libraries."""

MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "THP_MEM_ALLOC_ENABLE": "1"}
"""Environment variables that make glibc keep freed memory and torch request huge pages. A training frees and requests
the same large tensors in every step; if the kernel took the pages back and cleared them, it would cost a third of the
time."""


_LONGEST_TEMP = 60
"""Characters of a temporary folder that leave room for the path of the fork server's socket."""

_scratch: ScratchFolder | None = None


def warm_up() -> None:
    """Start the fork server if there is none: it imports torch while this process does something else."""
    if CONTEXT.get_start_method() != "forkserver":
        return
    CONTEXT.set_forkserver_preload(["study.executors.local.preload"])
    with set_environment({**MEMORY, **dict.fromkeys(THREADS, "1"), **child_environment()}), _own_temporary_folder():
        resource_tracker.ensure_running()  # its start unblocks SIGINT, so it comes first
        with _block_interrupts():
            forkserver.ensure_running()


def start(target: Callable[..., None], *args: object, name: str, environment: Mapping[str, str]) -> BaseProcess:
    """Start a process that calls ``target`` with the arguments, and ends with this process.

    Its environment is that of this process with ``environment`` on top. Libraries that the fork server has imported may
    have read theirs before.
    """
    warm_up()
    process = CONTEXT.Process(target=_run, args=({**os.environ, **environment}, target, args), name=name)
    # Spawned processes read the environment before they call ``_run``. If this one were interrupted while it asks the
    # fork server for another, the fork server would print a traceback.
    with set_environment({**environment, **child_environment()}), _without_main_module(), _hold_interrupts():
        process.start()
    return process


def describe_exit(exitcode: int | None) -> str:
    """Return how a process ended, as the predicate of a sentence."""
    if exitcode is None or exitcode >= 0:
        return f"left with exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    hint = " (often because the system ran out of memory: try fewer --jobs)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _run(environment: Mapping[str, str], target: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tuner decides what Ctrl-C does
    os.environ.clear()
    os.environ.update(environment)
    with contextlib.suppress(OSError):  # ``top`` and ``ps`` show the name, where the system allows that
        Path("/proc/self/comm").write_text(multiprocessing.current_process().name)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    gc.freeze()  # the collector would touch the imported objects, and their memory would be shared no longer
    target(*args)


def _end_with_parent() -> None:
    """End this process with its parent, even in the middle of an epoch."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def set_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process during the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide the main module from multiprocessing, whose processes would run it again before anything else.

    They need nothing of it. It would be run without end where a script has no main guard, and it cannot be run at all
    where it came from standard input.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """Let multiprocessing make its folder, which has the socket of the fork server, in a scratch folder.

    Its own would stay for good when this process is killed. It makes one in a process, at the first call.
    """
    global _scratch  # noqa: PLW0603 (one for the process, as the fork server)
    before = tempfile.tempdir
    if _scratch is None:
        _scratch = ScratchFolder(_LONGEST_TEMP)
        util.Finalize(
            None, _scratch.delete, exitpriority=-101
        )  # after that of multiprocessing's folder, which has -100
    tempfile.tempdir = _scratch.path
    try:
        with set_environment({"DRFT_SCRATCH": _scratch.path, "DRFT_TUNER": str(os.getpid())}):
            yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block SIGINT. A process that starts in the block never receives it, not even while it imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _hold_interrupts() -> Iterator[None]:
    """Call the handler of SIGINT after the block, since it may raise an exception.

    Blocking the signal would not do: another thread of this process gets it then, and Python calls the handler in the
    main thread all the same.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():  # which alone calls handlers
        yield
        return
    held: list[tuple[int, types.FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for call in held:
            before(*call)
