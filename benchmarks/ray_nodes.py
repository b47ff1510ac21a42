"""A Ray cluster of several nodes on this machine: raylets beside each other, with a cache folder for each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parent.parent


@contextmanager
def nodes_on_this_machine(count: int, caches: Path) -> Iterator[str]:
    """Start nodes of one CPU each; end them with the block.

    Args:
        count: how many; the first is the head.
        caches: folder for the nodes' cache folders.

    Yields:
        The address of the cluster.
    """
    from ray.cluster_utils import Cluster  # noqa: PLC0415 (Ray is for those who ask for it)

    os.environ["PYTHONPATH"] = os.pathsep.join((str(_ROOT), os.environ.get("PYTHONPATH", "")))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster()
    try:
        for number in range(count):
            cluster.add_node(
                num_cpus=1, include_dashboard=False, env_vars={"DRFT_CACHE": str(caches / f"node-{number}")}
            )
        cluster.wait_for_nodes()
        yield str(cluster.address)
    finally:
        cluster.shutdown()
