"""The planned length of each training, independent of pruning and early stopping."""

from collections.abc import Mapping
from typing import Any

import pandas as pd


def planned_epochs(trials: pd.DataFrame, base_config: Mapping[str, Any]) -> pd.Series:
    """Return the last epoch each trial would have had without pruning or early stopping, shape (trials,)."""
    return head_epochs(trials, base_config) + _epochs(trials, base_config, "depth_phase")


def planned_trainings(base_config: Mapping[str, Any]) -> int:
    """Return how many trainings a trial is: one, or one for each fold."""
    split = base_config.get("split", {})
    return int(split["folds"]) if split.get("fold", 0) is None else 1


def head_epochs(trials: pd.DataFrame, base_config: Mapping[str, Any]) -> pd.Series:
    """Return how many epochs of each trial belong to its head phase, shape (trials,)."""
    return _epochs(trials, base_config, "head_phase")


def _epochs(trials: pd.DataFrame, base_config: Mapping[str, Any], phase: str) -> pd.Series:
    default = int(base_config[phase]["epochs"])
    searched = trials.get(f"{phase}.epochs")
    if searched is None:
        return pd.Series(default, index=trials.index, dtype=int)
    return pd.to_numeric(searched).fillna(default).astype(int)
