"""The module search path of the Python processes that this program starts: without the working folder.

Python puts the working folder, or the folder of a script, in front of its own library. Users keep their data there, and
a ``signal.py`` beside a data set would be run in the place of Python's module.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SAFE_PATH: Mapping[str, str] = {"PYTHONSAFEPATH": "1"}
"""Environment variables with which Python does not put the working folder on its path (``python -P``)."""


def child_environment() -> dict[str, str]:
    """Return environment variables for a Python process that imports this program, but nothing of the working folder.

    Where this process finds the program only because it runs in its source folder, that folder is named: the other
    process could not find the program otherwise.
    """
    root = Path(__file__).resolve().parents[1]
    if not any(Path(entry).resolve() == root for entry in sys.path[:1]):
        return dict(SAFE_PATH)
    return {**SAFE_PATH, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
