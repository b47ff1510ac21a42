"""Renders many images at once, in processes of its own.

The processes are plain ``python -m drft.data.rendering.pool``, so they also start from daemonic workers and from
scripts without a main guard, where ``multiprocessing`` cannot spawn. Each reads its jobs from standard input, one
JSON list per line, and writes a line for each image it has saved.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from drft.data.rendering.fundus_image import render_image
from drft.errors import DataError

JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One image to render; what it shows depends on the entropy, grade and height alone."""

    path: str
    entropy: tuple[int, ...]
    """Seeds numpy's ``SeedSequence``."""
    grade: int
    height: int


def render_files(jobs: Sequence[RenderJob], on_saved: Callable[[int], None], processes: int | None = None) -> None:
    """Render and save all images as JPEG.

    Args:
        jobs: the images; their folders exist.
        on_saved: called with the number of images saved so far.
        processes: how many processes share the work; one per core if None.

    Raises:
        DataError: if a process could not do its share.
    """
    count = max(1, min(processes or _cores(), len(jobs) // 8))
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as saved:
        workers = [_start(write_end) for _ in range(count)]
        os.close(write_end)
        try:
            for number, worker in enumerate(workers):
                _hand_over(worker, jobs[number::count])
            for total, _ in enumerate(saved, start=1):
                on_saved(total)
            _check(workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
                _pipe(worker.stderr).close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(stdout: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603 - our own module, no input of the user
        [sys.executable, "-m", __spec__.name],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def _hand_over(worker: subprocess.Popen[str], jobs: Sequence[RenderJob]) -> None:
    with suppress(BrokenPipeError), _pipe(worker.stdin) as stdin:  # one that died says why on its way out
        stdin.writelines(json.dumps(astuple(job)) + "\n" for job in jobs)


def _check(workers: Sequence[subprocess.Popen[str]]) -> None:
    for worker in workers:
        complaint = _pipe(worker.stderr).read()
        if worker.wait() != 0:
            reason = complaint.strip().splitlines()[-1:] or [f"exit status {worker.returncode}"]
            raise DataError(f"images could not be rendered: {reason[0]}")


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def save_image(job: RenderJob) -> None:
    """Render one image and save it."""
    pixels = render_image(np.random.default_rng(np.random.SeedSequence(job.entropy)), job.grade, job.height)
    with Path(job.path).open("wb") as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
        file.flush()
        os.fsync(file.fileno())


def _work() -> None:
    """Do the jobs on standard input; ends quietly when interrupted, since the parent speaks for all."""
    try:
        for line in sys.stdin.readlines():
            path, entropy, grade, height = json.loads(line)
            save_image(RenderJob(path, tuple(entropy), grade, height))
            print(path, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)


if __name__ == "__main__":
    _work()
