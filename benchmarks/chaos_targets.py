"""The processes that a chaos run kills beside the tuner: workers, nodes of a Ray cluster, a database server."""

import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.postgres import Postgres, binaries
from benchmarks.process_memory import process_tree
from benchmarks.ray_nodes import empty_cluster
from drft.errors import DrftError

_WORKER = re.compile(r"^drft-(cpu|gpu|ray)-")
_NODES = 3


@dataclass
class ChaosTargets:
    """Where a study of a chaos run runs, and what can be killed there."""

    options: list[str]
    """Of the command ``drft-study run``."""
    storage: str | None = None
    """URL of the storage; None for the default."""
    kill: dict[str, Callable[[], bool]] = field(default_factory=dict)
    """By name: kills the target and returns whether there was one."""


@contextmanager
def open_targets(executor: str, storage: str, rng: random.Random) -> Iterator[ChaosTargets]:
    """Start servers and nodes; stop them at the end.

    Raises:
        DrftError: when PostgreSQL is not installed.
    """
    targets = ChaosTargets(["--executor", executor], kill={"worker": partial(kill_worker, rng)})
    with ExitStack() as stack:
        if executor == "ray":
            cluster = stack.enter_context(empty_cluster())
            cluster.add_node(num_cpus=0, include_dashboard=False)  # the head, which is never killed
            nodes = [cluster.add_node(num_cpus=1) for _ in range(_NODES - 1)]

            def replace_node() -> bool:
                cluster.remove_node(nodes.pop(rng.randrange(len(nodes))), allow_graceful=False)
                nodes.append(cluster.add_node(num_cpus=1))
                return True

            targets.kill["node"] = replace_node
            targets.options += ["--ray-address", str(cluster.address)]
        if storage == "postgresql":
            folder = binaries()
            if folder is None:
                raise DrftError("PostgreSQL's server binaries were not found: install your system's package postgresql")
            server = Postgres(folder)
            server.start()
            stack.callback(server.remove)
            targets.kill["database"] = server.restart
            targets.storage = server.database("chaos")
        elif storage == "journal":
            targets.storage = f"{stack.enter_context(TemporaryDirectory())}/study.journal"
        yield targets


def kill_worker(rng: random.Random) -> bool:
    """Kill a worker process that descends from this process; return whether there was one."""
    workers = [pid for pid in process_tree(os.getpid()) if _WORKER.search(_process_name(pid))]
    try:
        if workers:
            os.kill(rng.choice(workers), signal.SIGKILL)
    except ProcessLookupError:
        return False  # it ended after it was listed
    return bool(workers)


def _process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
