"""A Ray cluster: one that runs already, or one of this machine alone that lasts as long as the study."""

import contextlib
import logging
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from drft.errors import UsageError
from study.executors.resources import cores

_REACH_SECONDS = 5.0

_LONGEST_TEMP = 30
"""Characters of a temporary folder that leave room for the names of Ray's sockets: 107 bytes in all."""


@dataclass(frozen=True, slots=True)
class TrialResources:
    """What one trial takes of a node; a fraction of a GPU is a fraction of one and the same GPU."""

    cpus: float = 1.0
    gpus: float = 0.0

    def fits(self, resources: Mapping[str, float]) -> int:
        """Return how many trials a node with these resources takes at once."""
        counts = []
        if self.cpus:
            counts.append(_times(resources.get("CPU", 0.0), self.cpus))
        if self.gpus:
            gpus = resources.get("GPU", 0.0)
            counts.append(int(gpus) * _times(1.0, self.gpus) if self.gpus < 1 else _times(gpus, self.gpus))
        return min(counts, default=0)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that this process has joined."""

    share: TrialResources
    scratch: str | None = None
    """Folder for what is temporary on this machine, if the cluster is ours and goes with it."""

    def capacity(self) -> int:
        """Return how many trials all nodes together take at once, now."""
        return sum(self.share.fits(node) for node in _nodes().values())

    def places(self, node: str) -> int:
        """Return how many trials one node takes at once; 1 for a node that is just going."""
        return max(1, self.share.fits(_nodes().get(node, {})))

    def describe(self, slots: int) -> str:
        """Say how many trials run at once, and where."""
        nodes = len(_nodes())
        each = f"{self.share.gpus:g} GPU and " if self.share.gpus else ""
        where = "this machine" if self.scratch else f"{nodes} node{'s' if nodes > 1 else ''}"
        return f"{slots} at once on {where} with Ray, each on {each}{self.share.cpus:g} CPU"


@contextmanager
def joined(address: str | None, cpus: float | None, gpus: float | None, jobs: int | None) -> Iterator[Cluster]:
    """Join the cluster at an address, or start one on this machine and end it with the block.

    A process that has joined a cluster before uses that one and stays in it.

    Args:
        address: ``auto`` or ``HOST:PORT``; by default what ``RAY_ADDRESS`` says, else there is a cluster to start.
        cpus: CPUs of each trial; 1 by default.
        gpus: GPUs of each trial; by default 1 where there are any.
        jobs: trials at once, which a cluster of our own makes room for.

    Raises:
        UsageError: when there is no such cluster, or it has not what a trial takes.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    with contextlib.ExitStack() as stack:
        scratch = None
        if not ray.is_initialized():
            if address in {None, "local"}:
                scratch = stack.enter_context(_scratch())
                _init("local", num_cpus=max(cores(), math.ceil((jobs or 1) * (cpus or 1))), _temp_dir=scratch)
            else:
                assert address is not None
                _check_reachable(address)
                _init(address)
            stack.callback(ray.shutdown)
        yield Cluster(_share(cpus, gpus), scratch)


def _init(address: str, **options: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns; workers say it for themselves
    if address == "local":
        options["include_dashboard"] = False
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True, **options)
    except (OSError, RuntimeError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"{_named(address)}: Ray says: {lines[0]}") from error


def _check_reachable(address: str) -> None:
    """Refuse early what Ray would try to reach for a minute."""
    if "://" in address:
        raise UsageError(
            f"{_named(address)}: an address of Ray's client; run the command on a node of the cluster "
            "and use --ray-address auto"
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{_named(address)}: write auto, or HOST:PORT as `ray start --head` says it")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"{_named(address)}: cannot be reached ({error.strerror or error}): check that the head node runs"
        ) from None


def _named(address: str) -> str:
    return f"--ray-address {address}"


def _share(cpus: float | None, gpus: float | None) -> TrialResources:
    """Return what each trial takes, if there is a node that has it."""
    nodes = _nodes().values()
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in ("CPU", "GPU")}
    share = TrialResources(1.0 if cpus is None else cpus, (1.0 if most["GPU"] >= 1 else 0.0) if gpus is None else gpus)
    for option, wanted, name in (("gpus", share.gpus, "GPU"), ("cpus", share.cpus, "CPU")):
        if wanted > most[name]:
            offer = f"no node of the cluster has more than {most[name]:g}" if most[name] else "there is none"
            raise UsageError(f"--{option}-per-trial: a trial would take {wanted:g} {name}, {offer}")
    if not any(share.fits(node) for node in nodes):
        raise UsageError(f"--gpus-per-trial: no node has {share.gpus:g} GPU and {share.cpus:g} CPU together")
    return share


def _nodes() -> dict[str, Mapping[str, float]]:
    """Return the resources of every node that is alive, by its id."""
    return {str(node["NodeID"]): node["Resources"] for node in _listed() if node["Alive"]}


def _listed() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _times(there: float, wanted: float) -> int:
    return int(there / wanted + 1e-9)


@contextmanager
def _scratch() -> Iterator[str]:
    """Make a temporary folder with a short name, and remove it whatever is still being written there."""
    usual = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="drft-", dir=usual if len(usual) <= _LONGEST_TEMP else "/tmp")  # noqa: S108
    try:
        yield folder
    finally:
        for _ in range(3):  # a process that is just ending may write a last line of its log
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
