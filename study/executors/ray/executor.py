"""The Ray executor: slots that Ray places on the nodes of a cluster.

Every slot is an actor that runs its training in a worker of its own (``outpost``). The driver asks each for what comes
next and gives the answer with the next question, so no epoch begins before the last one is answered.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import ray

from study.executors.base import Event, Failed, Job, Workload
from study.executors.ray.actor import WorkerActor
from study.executors.ray.cluster import Cluster
from study.executors.ray.files import ShippedFiles
from study.executors.ray.slot import RaySlot
from study.executors.resources import thread_limit

_GRACE = 5.0
"""Seconds that actors have to end their workers."""

_LOST_STARTS = 3
"""A job that is lost more often than this before it began has failed."""

_GROWTH_SECONDS = 5.0
"""Seconds between two looks for nodes that have joined."""


class RayExecutor:
    """Runs jobs on actors of a Ray cluster.

    A job that has not begun when its actor is lost goes to whichever slot is free first. A lost actor gets a
    successor, which Ray places where there is room; until there is, the other slots serve.
    """

    def __init__(
        self,
        workload: Workload,
        cluster: Cluster,
        *,
        jobs: int | None = None,
        supplies: ShippedFiles = ShippedFiles(),  # noqa: B008 (frozen)
        log: Path | None = None,
    ) -> None:
        """Prepare; the actors start with the ``with`` block.

        Args:
            workload: what every worker gets ready with.
            cluster: where.
            jobs: slots; by default as many as the nodes have room for, and more when nodes join.
            supplies: files that nodes may lack.
            log: file for whatever workers on this machine print; elsewhere it is thrown away.
        """
        gpus = cluster.share.gpus
        per_gpu = int(1 / gpus + 1e-9) if 0 < gpus < 1 else 1
        self._workload = replace(workload, dataset=supplies.dataset, trials_per_gpu=per_gpu)
        self._cluster = cluster
        self._grows = jobs is None
        self._supplies = supplies
        self._log = log
        self._contents: dict[int, Any] = {}
        self._posts = [RaySlot(self, index) for index in range(jobs or max(1, cluster.capacity()))]
        self._waiting: deque[Job] = deque()
        self._news: list[Event] = []
        self._retired = 0
        self._serves = False
        self._lost_starts: dict[int, int] = {}
        self._looked = time.monotonic()

    @property
    def slots(self) -> int:
        """How many jobs can run at once."""
        return len(self._posts)

    def submit(self, job: Job) -> None:
        """Give a job to a free actor, as soon as one is ready."""
        self._waiting.append(job)
        self._give_out()

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Return the events there are, waiting up to ``timeout`` seconds for the first.

        Raises:
            UsageError: when a worker cannot get ready, and the user can mend it.
            DrftError: when a worker cannot get ready.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._news:
            self._grow()
            left = _GROWTH_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            questions = {post.question: post for post in self._posts if post.question is not None}
            if not questions:
                break  # nobody was asked anything, so nothing can happen
            answered, _ = ray.wait(list(questions), num_returns=1, timeout=min(left, _GROWTH_SECONDS))
            more, _ = ray.wait(list(questions), num_returns=len(questions), timeout=0)
            for question in dict.fromkeys([*answered, *more]):
                self._news += questions[question].hear()
            self._give_out()
            if not answered and deadline is not None and time.monotonic() >= deadline:
                break
        news, self._news = self._news, []
        return news

    def answer(self, number: int, *, keep_on: bool) -> None:
        """Answer the last report of a job."""
        next(post for post in self._posts if post.job and post.job.number == number).ask(keep_on)

    def kill(self, number: int) -> None:
        """End the actor of a job and its worker; a successor takes the slot."""
        for job in [job for job in self._waiting if job.number == number]:
            self._waiting.remove(job)
            self._news.append(Failed(number, "killed before it began", kind="lost"))
        for post in self._posts:
            if post.job and post.job.number == number:
                post.kill()

    def contents(self, indices: Sequence[int]) -> list[Any]:
        """Return files of the driver, each put into the object store once."""
        for index in indices:
            if index not in self._contents:
                self._contents[index] = ray.put(np.fromfile(self._supplies.files[index].file, np.uint8))
        return [self._contents[index] for index in indices]

    def create(self, index: int) -> Any:
        """Create the actor of a slot, wherever Ray finds room for it."""
        share = self._cluster.share
        actor: Any = ray.remote(WorkerActor)
        return actor.options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        ).remote(index, self._supplies, self._cluster.scratch)

    def conditions(self, node: str) -> tuple[Workload, int, Path | None]:
        """Return what a worker on a node gets ready with: workload, threads and log."""
        here = node == ray.get_runtime_context().get_node_id()
        workload = replace(self._workload, workers=min(self._cluster.places(node), len(self._posts)))
        return workload, thread_limit(max(1, int(self._cluster.share.cpus))), self._log if here else None

    @property
    def cache_dir(self) -> Path | None:
        """Cache folder of the nodes; None for each node's own."""
        return self._workload.cache_dir

    def retry(self, job: Job, how: str) -> Failed | None:
        """Queue a job again that was lost before it began; one that is always lost has failed."""
        self._lost_starts[job.number] = self._lost_starts.get(job.number, 0) + 1
        if self._lost_starts[job.number] > _LOST_STARTS:
            return Failed(job.number, how, kind="lost")
        self._waiting.appendleft(job)
        return None

    def serves(self) -> None:
        """Take note that a slot is ready."""
        self._serves = True

    def can_spare(self, post: RaySlot) -> bool:
        """Return whether another slot serves or may yet: any was ready, so one that is not may have been unlucky."""
        return self._serves and any(other is not post for other in self._posts)

    def retire(self, post: RaySlot) -> None:
        """Do without a slot that cannot start again."""
        self._posts.remove(post)
        self._retired += 1

    def _give_out(self) -> None:
        for post in self._posts:
            if self._waiting and post.free:
                post.give(self._waiting.popleft())

    def _grow(self) -> None:
        """Add slots for nodes that have joined."""
        if not self._grows or time.monotonic() - self._looked < _GROWTH_SECONDS:
            return
        self._looked = time.monotonic()
        for index in range(len(self._posts) + self._retired, self._cluster.capacity()):
            self._posts.append(RaySlot(self, index))
            self._posts[-1].start()

    def __enter__(self) -> Self:
        for post in self._posts:
            post.start()
        return self

    def __exit__(self, *exc: object) -> None:
        farewells = [post.dismiss() for post in self._posts if post.ready]
        if farewells:
            ray.wait(farewells, num_returns=len(farewells), timeout=_GRACE)
        for post in self._posts:
            post.end()
