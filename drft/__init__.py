"""One two-phase fine-tuning, at a chosen depth.

::

    from drft import open_cohort, run_trial, TrialConfig

    result = run_trial(TrialConfig(depth=3), open_cohort("synthetic"))
    print(result.best.step, result.best.val_accuracy, result.best.gap)

Names are imported when they are first used, so that light rooms (configuration, errors) stay light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drft.config.trial_config import TrialConfig
    from drft.data import ImageDataset, open_cohort
    from drft.errors import DrftError
    from drft.inference import grade_photographs
    from drft.models.checkpoint import load_checkpoint, save_checkpoint
    from drft.training.cross_validation import run_folds
    from drft.training.records import EpochRecord, TrialResult
    from drft.training.trial import run_trial

__all__ = [
    "DrftError",
    "EpochRecord",
    "ImageDataset",
    "TrialConfig",
    "TrialResult",
    "grade_photographs",
    "load_checkpoint",
    "open_cohort",
    "run_folds",
    "run_trial",
    "save_checkpoint",
]

_ROOMS = {
    "ImageDataset": "drft.data",
    "DrftError": "drft.errors",
    "EpochRecord": "drft.training.records",
    "TrialConfig": "drft.config.trial_config",
    "TrialResult": "drft.training.records",
    "grade_photographs": "drft.inference",
    "load_checkpoint": "drft.models.checkpoint",
    "open_cohort": "drft.data",
    "run_folds": "drft.training.cross_validation",
    "run_trial": "drft.training.trial",
    "save_checkpoint": "drft.models.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'drft' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)
