"""The home folder in paths."""

import os
from pathlib import Path


def expand_home(path: str) -> Path:
    """Return a path with its first ``~`` replaced by the home folder; unchanged where there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises a RuntimeError for an unknown user
