"""Names of pruners; a module of their own, so that ``--help`` does not import Optuna."""

from typing import Literal, get_args

Pruner = Literal["asha", "hyperband", "median", "predictive", "wilcoxon", "none"]

PRUNERS: tuple[Pruner, ...] = get_args(Pruner)
