"""Many fine-tunings: search, execution, results and report.

::

    from study import run_study

    study = run_study(trials=20, space="quick")  # also in a notebook; needs no main guard
    print(study)

Names are imported when they are first used, so that ``drft-study --help`` stays fast.
"""

import os
import sys

# ``python -m study`` puts the working folder in front of Python's own library, and users keep their data there. This
# must be done before the first import of a module that such a folder could hold. ``argv`` begins with -m only while
# Python looks for the module to run. The source folder of this program stays.
if (
    sys.argv[:1] == ["-m"]
    and any(option in " ".join(sys.orig_argv) for option in ("-m study", "-mstudy"))
    and not sys.flags.safe_path
    and sys.path[0] != os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 (pathlib may lie in that folder)
):
    del sys.path[0]

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.analysis.evidence import read_verdict
    from study.callbacks.callback import Callback
    from study.confirm.run import confirm_study
    from study.report.write import write_report
    from study.results.study_results import read_study
    from study.run import run_study
    from study.setup.options import RunOptions
    from study.space import Space
    from study.study_run import StudyRun

__all__ = [
    "Callback",
    "RunOptions",
    "Space",
    "StudyRun",
    "confirm_study",
    "read_study",
    "read_verdict",
    "run_study",
    "write_report",
]

_MODULES = {
    "Callback": "study.callbacks.callback",
    "StudyRun": "study.study_run",
    "RunOptions": "study.setup.options",
    "Space": "study.space",
    "confirm_study": "study.confirm.run",
    "read_study": "study.results.study_results",
    "read_verdict": "study.analysis.evidence",
    "run_study": "study.run",
    "write_report": "study.report.write",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
