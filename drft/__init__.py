"""One two-phase fine-tuning, at a chosen depth.

::

    from drft import open_dataset, run_trial, TrialConfig

    result = run_trial(TrialConfig(depth=3), open_dataset("synthetic"))
    print(result.best.step, result.best.val_accuracy, result.best.gap)

Names are imported when they are first used, so that importing the configuration or the errors does not import torch.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drft.config.trial_config import TrialConfig
    from drft.data import ImageDataset, open_dataset
    from drft.errors import DrftError
    from drft.inference import predict_images
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
    "load_checkpoint",
    "open_dataset",
    "predict_images",
    "run_folds",
    "run_trial",
    "save_checkpoint",
]

_MODULES = {
    "ImageDataset": "drft.data",
    "DrftError": "drft.errors",
    "EpochRecord": "drft.training.records",
    "TrialConfig": "drft.config.trial_config",
    "TrialResult": "drft.training.records",
    "predict_images": "drft.inference",
    "load_checkpoint": "drft.models.checkpoint",
    "open_dataset": "drft.data",
    "run_folds": "drft.training.cross_validation",
    "run_trial": "drft.training.trial",
    "save_checkpoint": "drft.models.checkpoint",
}


_RENAMED = {"Cohort": "ImageDataset", "grade_photographs": "predict_images", "open_cohort": "open_dataset"}
"""Names of version 0.1; they stay for one release."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("drft-study")
    name = _RENAMED.get(name, name)
    if name not in _MODULES:
        raise AttributeError(f"module 'drft' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
