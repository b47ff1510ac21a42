"""Checks of studies in which each trial trains once for each fold (``drft.run_folds``)."""

from typing import TYPE_CHECKING

from drft.config.trial_config import SplitConfig
from drft.errors import UsageError

if TYPE_CHECKING:  # reading a study needs this module, but not the search spaces
    from study.space import BoundSpace

COMPARED = 3
"""Folds that are compared with those of the best trial before a trial may be pruned. With fewer folds a signed-rank
test decides nothing: if both of two folds are worse, p = 1/4."""


def chosen_pruner(requested: str | None, split: SplitConfig, default: str = "predictive") -> str:
    """Return the pruner of a study: the requested one, else the default for its split.

    Args:
        requested: what the user asks for, if anything.
        split: of its trials.
        default: without folds; ``predictive`` stops fewest of the best trials (``benchmarks.pruners``).

    Raises:
        UsageError: when the requested pruner compares epochs and trials have folds, or the other way round.
    """
    too_few = len(split.turns) <= COMPARED
    if not split.every_fold:
        if requested == "wilcoxon":
            raise UsageError("--pruner wilcoxon: it compares folds, and these trials have none; add --folds 5")
        return requested or default
    if requested == "wilcoxon" and too_few:
        raise UsageError(
            f"--pruner wilcoxon: it stops a trial after {COMPARED} folds at the earliest, and a trial has no more; use "
            "--folds 5, or --pruner none"
        )
    if requested not in {None, "wilcoxon", "none"}:
        raise UsageError(
            f"--pruner {requested}: it compares epochs, and these trials compare folds; choose wilcoxon or none"
        )
    return requested or ("none" if too_few else "wilcoxon")


def check_folds(pruner: str | None, space: "BoundSpace") -> None:
    """Check that pruner and early stopping fit the folds of the trials.

    Raises:
        UsageError: when the pruner does not fit, or when early stopping could end folds after different epochs.
    """
    chosen_pruner(pruner, space.base.split)
    path = "early_stopping.patience"
    searched = any(dimension.path == path for dimension in space.dimensions)
    if space.base.split.every_fold and (searched or space.base.early_stopping.patience):
        raise UsageError(
            f"--folds: the space {space.name} sets {path}, and folds that end after different epochs have no common "
            f"best epoch; leave out --folds or {path}"
        )
