"""Render many images at once, in processes of their own.

The processes run ``python -P`` with this module. They therefore also start from daemonic workers and from
scripts without a main guard, where ``multiprocessing`` cannot start any. Each process reads its jobs from standard
input, one JSON list per line, and writes one line for each image that it has saved.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from drft.data.rendering.fundus_image import render_image
from drft.errors import DataError
from drft.python_path import child_environment

JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One image to render; its pixels depend on the entropy, grade and height alone."""

    path: str
    entropy: tuple[int, ...]
    """Seed of NumPy's ``SeedSequence``."""
    grade: int
    height: int


def render_files(jobs: Sequence[RenderJob], on_saved: Callable[[int], None], processes: int | None = None) -> None:
    """Render all images and save them as JPEG.

    Args:
        jobs: the images; their folders exist.
        on_saved: called with the number of images saved so far.
        processes: number of processes; one per core if None.

    Raises:
        DataError: if a process failed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = max(1, min(processes or cores, len(jobs) // 8))
    read_end, write_end = os.pipe()  # one pipe for the output of all processes: a single loop counts the images
    with os.fdopen(read_end) as saved:
        workers = [_start(write_end) for _ in range(count)]
        os.close(write_end)
        try:
            for number, worker in enumerate(workers):
                assert worker.stdin is not None
                with suppress(BrokenPipeError), worker.stdin as stdin:  # a dead process has its reason in stderr
                    stdin.writelines(json.dumps(astuple(job)) + "\n" for job in jobs[number::count])
            for total, _ in enumerate(saved, start=1):
                on_saved(total)
            for worker in workers:
                assert worker.stderr is not None
                error = worker.stderr.read()
                if worker.wait() != 0:
                    reason = error.strip().splitlines()[-1:] or [f"exit status {worker.returncode}"]
                    raise DataError(f"images could not be rendered: {reason[0]}")
        finally:
            for worker in workers:
                worker.kill()
                with worker:  # closes the pipes and waits for the end of the process
                    pass


def _start(stdout: int) -> subprocess.Popen[str]:
    environment = {**os.environ, **child_environment(), "OMP_NUM_THREADS": "1"}
    # The path of this process comes behind Python's own, in case this module is found there only.
    script = f"import sys; sys.path += {list(filter(None, sys.path))!r}; from {__name__} import work; work()"
    return subprocess.Popen(  # noqa: S603 - our own module, no input of the user
        [sys.executable, "-P", "-c", script],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def save_image(job: RenderJob) -> None:
    """Render one image and save it."""
    pixels = render_image(np.random.default_rng(np.random.SeedSequence(job.entropy)), job.grade, job.height)
    with Path(job.path).open("wb") as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
        file.flush()
        os.fsync(file.fileno())


def work() -> None:
    """Do the jobs from standard input; on an interruption end without a message, because the parent reports it."""
    try:
        for line in sys.stdin.readlines():
            path, entropy, grade, height = json.loads(line)
            save_image(RenderJob(path, tuple(entropy), grade, height))
            print(path, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)
