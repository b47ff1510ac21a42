"""Names of pruners; a module of their own, so that ``--help`` does not import Optuna."""

PRUNERS = ("asha", "hyperband", "median", "predictive", "wilcoxon", "none")
"""The pruners of this program; a user's own one is named ``module:function``."""
