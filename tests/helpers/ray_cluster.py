"""Ray for tests: its processes can import the project and the fake trainers."""

import os
from contextlib import contextmanager

import pytest

from study.executors.ray.cluster import join_cluster
from tests.helpers import ROOT


@contextmanager
def ray_path():
    """Set the environment for Ray's processes during the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@contextmanager
def own_cluster(jobs=2, cpus=None):
    """Start a cluster on this machine; it ends with the block."""
    with ray_path(), join_cluster(None, cpus, None, jobs) as cluster:
        yield cluster
