"""A Ray cluster: one that runs already, or one on this machine that lasts as long as the study."""

import atexit
import contextlib
import logging
import math
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from drft.errors import UsageError
from drft.files.atomic import default_cache_dir
from drft.files.scratch import ScratchFolder
from drft.python_path import child_environment
from study.executors.local.process import set_environment
from study.executors.resources import cores

_REACH_SECONDS = 5.0

_LONGEST_TEMP = 26
"""Characters of a temporary folder that leave room for the paths of Ray's sockets, which have at most 107 bytes."""


@dataclass(frozen=True, slots=True)
class TrialResources:
    """Resources of one trial on a node; a fraction of a GPU is a fraction of one and the same GPU."""

    cpus: float = 1.0
    gpus: float = 0.0

    @property
    def trials_per_gpu(self) -> int:
        """How many trials share one GPU."""
        return int(1 / self.gpus + 1e-9) if 0 < self.gpus < 1 else 1

    def fits(self, resources: Mapping[str, float]) -> int:
        """Return how many trials a node with these resources runs at once."""
        counts = []
        if self.cpus:
            counts.append(_quotient(resources.get("CPU", 0.0), self.cpus))
        if self.gpus:
            gpus = resources.get("GPU", 0.0)
            counts.append(int(gpus) * _quotient(1.0, self.gpus) if self.gpus < 1 else _quotient(gpus, self.gpus))
        return min(counts, default=0)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that this process has joined."""

    share: TrialResources
    head: str
    """Host and port of the cluster's head."""
    scratch: str | None = None
    """Temporary folder of a cluster that was started here, and that is deleted with it."""

    def head_answers(self) -> bool:
        """Return whether the head can be reached. If not, Ray's calls wait for it, and end this process in a minute."""
        return _can_be_reached(self.head)

    def capacity(self) -> int:
        """Return how many trials all nodes together run at once."""
        return sum(self.share.fits(node) for node in _nodes().values())

    def still_there(self, nodes: Sequence[str]) -> list[str]:
        """Return those of the nodes that have not left."""
        alive = _nodes()
        return [node for node in nodes if node in alive]

    def fits_on(self, node: str) -> int:
        """Return how many trials one node runs at once; 1 for a node that has just left."""
        return max(1, self.share.fits(_nodes().get(node, {})))

    def describe(self, slots: int) -> str:
        """Return how many trials run at once, and where, for the user."""
        nodes = len(_nodes())
        gpus = f"{self.share.gpus:g} GPU and " if self.share.gpus else ""
        machines = "this machine" if self.scratch else f"{nodes} node{'s' if nodes > 1 else ''}"
        return f"{slots} at once on {machines} with Ray, each on {gpus}{self.share.cpus:g} CPU"


@contextmanager
def join_cluster(address: str | None, cpus: float | None, gpus: float | None, jobs: int | None) -> Iterator[Cluster]:
    """Join the cluster at an address, or start one on this machine and end it with the block.

    A process that has joined a cluster before uses that one and stays in it.

    Args:
        address: ``auto`` or ``HOST:PORT``; by default that of ``RAY_ADDRESS``, else a new cluster is started.
        cpus: CPUs of each trial; 1 by default.
        gpus: GPUs of each trial; by default 1 if there are any.
        jobs: trials at once for which a new cluster has room.

    Raises:
        UsageError: when there is no such cluster, or no node of it has the resources of a trial.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    with contextlib.ExitStack() as stack:
        scratch = None
        if not ray.is_initialized():
            if address in {None, "local"}:
                scratch = stack.enter_context(_temporary_folder())
                with set_environment({"RAY_TMPDIR": scratch}):
                    _init(
                        "local",
                        scratch,
                        num_cpus=max(cores(), math.ceil((jobs or 1) * (cpus or 1))),
                        include_dashboard=False,
                    )
            else:
                assert address is not None
                _check_reachable(address)
                with tempfile.TemporaryDirectory() as empty:
                    _init(address, empty)
            head = _head()
            stack.callback(_leave, head)
        elif not _can_be_reached(head := _head()):
            raise UsageError(f"the head of the Ray cluster, {head}, cannot be reached any more: start Python again")
        yield Cluster(_trial_resources(cpus, gpus), head, scratch)


def _init(address: str, folder: str, **options: Any) -> None:
    """Join or start a cluster, with ``folder`` as the working folder.

    Ray puts the working folder on the path of its workers, in front of Python's own library: it must be an empty one.
    A cluster that is started here keeps it, so a relative ``DRFT_CACHE`` is made absolute.
    """
    environment = {**child_environment(), "DRFT_CACHE": str(default_cache_dir().absolute())}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns; workers set their GPUs anyway
    try:
        with set_environment(environment), contextlib.chdir(folder):
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                **options,
            )
    except (OSError, RuntimeError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"--ray-address {address}: Ray reports: {lines[0]}") from error


def _check_reachable(address: str) -> None:
    """Refuse at once what Ray would try to reach for a minute."""
    if "://" in address:
        raise UsageError(
            f"--ray-address {address}: Ray Client addresses are not supported; run the command on a node of the "
            "cluster and use --ray-address auto"
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--ray-address {address}: write auto, or HOST:PORT as `ray start --head` prints it")
    try:
        _connect(address)
    except OSError as error:
        raise UsageError(
            f"--ray-address {address}: cannot be reached ({error.strerror or error}): check that the head node runs"
        ) from None


def _connect(address: str) -> None:
    """Open a connection to ``HOST:PORT`` and close it."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()


def _can_be_reached(address: str) -> bool:
    try:
        _connect(address)
    except OSError:
        return False
    return True


def _head() -> str:
    return str(ray.get_runtime_context().gcs_address)


def _leave(head: str) -> None:
    """Leave the cluster, or end it if it was started here."""
    if _can_be_reached(head):
        ray.shutdown()
    else:
        # Ray waits for its head, and ends this process a minute after the head was lost: end before that.
        atexit.register(_end_without_ray, head)


def _end_without_ray(head: str) -> None:
    """End the process without what Ray does at its end, if Ray still waits for its head."""
    if ray.is_initialized() and not _can_be_reached(head):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _trial_resources(cpus: float | None, gpus: float | None) -> TrialResources:
    """Return the resources of each trial, if a node has them."""
    nodes = _nodes().values()
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in ("CPU", "GPU")}
    default_gpus = 1.0 if most["GPU"] >= 1 else 0.0
    share = TrialResources(1.0 if cpus is None else cpus, default_gpus if gpus is None else gpus)
    for option, wanted, name in (("gpus", share.gpus, "GPU"), ("cpus", share.cpus, "CPU")):
        if wanted > most[name]:
            offer = f"no node of the cluster has more than {most[name]:g}" if most[name] else "the cluster has none"
            raise UsageError(f"--{option}-per-trial: a trial needs {wanted:g} {name}, and {offer}")
    if not any(share.fits(node) for node in nodes):
        raise UsageError(f"--gpus-per-trial: no node has {share.gpus:g} GPU and {share.cpus:g} CPU together")
    return share


def _nodes() -> dict[str, Mapping[str, float]]:
    """Return the resources of every node that is alive, by its id."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {str(node["NodeID"]): node["Resources"] for node in nodes if node["Alive"]}


def _quotient(total: float, part: float) -> int:
    return int(total / part + 1e-9)


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Make a temporary folder with a short path, and delete it even if something is still being written there."""
    folder = ScratchFolder(_LONGEST_TEMP)
    try:
        yield folder.path
    finally:
        folder.delete()
