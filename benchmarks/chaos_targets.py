"""Where a chaos run takes place: what stands there beside the driver, and how each part of it is brought down."""

import os
import random
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.postgres import Postgres, binaries
from benchmarks.run_program import family
from drft.errors import DrftError

_WORKER = re.compile(r"^drft-(cpu|gpu|ray)-")
_NODES = 3


@dataclass
class ChaosTarget:
    """What the driver is told, and what can be brought down beside it. A disaster says whether it happened."""

    options: Sequence[str] = ()
    storage: str | None = None
    disasters: Mapping[str, Callable[[], bool]] = field(default_factory=dict)


@contextmanager
def field_of(executor: str, storage: str, chance: random.Random) -> Iterator[ChaosTarget]:
    """Set up servers and nodes; take them down at the end."""
    with ExitStack() as stack:
        disasters: dict[str, Callable[[], bool]] = {"worker": lambda: kill_worker(chance)}
        options: list[str] = ["--executor", executor]
        if executor == "ray":
            nodes = stack.enter_context(_nodes(chance))
            disasters["node"] = nodes.replace
            options += ["--ray-address", nodes.address]
        url = None
        if storage == "postgresql":
            server = stack.enter_context(_server())
            disasters["database"] = server.restart
            url = server.database("chaos")
        elif storage == "journal":
            url = f"{stack.enter_context(TemporaryDirectory())}/study.journal"
        yield ChaosTarget(options, url, disasters)


def kill_worker(chance: random.Random) -> bool:
    """Kill a worker process that descends from this one; return whether there was one."""
    workers = [pid for pid in family(os.getpid()) if _WORKER.search(_name(pid))]
    try:
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
    except ProcessLookupError:
        return False  # it had just ended
    return bool(workers)


def _name(pid: int) -> str:
    """Return the name that a process gave itself."""
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


@contextmanager
def _server() -> Iterator[Postgres]:
    place = binaries()
    if place is None:
        raise DrftError("there are no PostgreSQL server binaries: install your system's package postgresql")
    server = Postgres(place)
    server.start()
    try:
        yield server
    finally:
        server.remove()


class _Nodes:
    """A Ray cluster of several nodes on this machine; the head, which only keeps the cluster's books, stays."""

    def __init__(self, chance: random.Random) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415 (Ray is for those who ask for it)

        self._chance = chance
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._others = [self._add() for _ in range(_NODES - 1)]

    @property
    def address(self) -> str:
        """Where a driver finds it."""
        return str(self.cluster.address)

    def replace(self) -> bool:
        """Kill a node with everything on it; another one joins."""
        lost = self._others.pop(self._chance.randrange(len(self._others)))
        self.cluster.remove_node(lost, allow_graceful=False)
        self._others.append(self._add())
        return True

    def _add(self) -> object:
        return self.cluster.add_node(num_cpus=1)


@contextmanager
def _nodes(chance: random.Random) -> Iterator[_Nodes]:
    nodes = _Nodes(chance)
    try:
        yield nodes
    finally:
        nodes.cluster.shutdown()
