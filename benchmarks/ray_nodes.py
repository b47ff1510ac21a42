"""A Ray cluster on this machine whose nodes are added one by one."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

_ROOT = Path(__file__).parent.parent


@contextmanager
def empty_cluster() -> Iterator["Cluster"]:
    """Yield a cluster without nodes; the first node that is added is the head. Stop all nodes at the end."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 (Ray is optional)

    os.environ["PYTHONPATH"] = os.pathsep.join((str(_ROOT), os.environ.get("PYTHONPATH", "")))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with ExitStack() as stack:
        cluster = Cluster()
        stack.callback(cluster.shutdown)
        yield cluster
