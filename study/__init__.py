"""Many fine-tunings: search, execution, results and report.

::

    from study import RunOptions, run_study

    if __name__ == "__main__":  # worker processes may import the calling script again
        outcome = run_study(RunOptions(trials=20, space="quick"))

Names are imported when they are first used, so that ``drft-study --help`` stays fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.analysis.evidence import read_verdict
    from study.confirm.run import confirm_study
    from study.report.write import write_report
    from study.results.study_results import read_study
    from study.run import run_study
    from study.setup.options import RunOptions
    from study.space import Space

__all__ = ["RunOptions", "Space", "confirm_study", "read_study", "read_verdict", "run_study", "write_report"]

_MODULES = {
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
