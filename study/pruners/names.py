"""Names of pruners. ``--help`` imports this file and no Optuna."""

from typing import Literal, get_args

Pruner = Literal["asha", "hyperband", "median", "predictive", "wilcoxon", "none"]

PRUNERS: tuple[Pruner, ...] = get_args(Pruner)
