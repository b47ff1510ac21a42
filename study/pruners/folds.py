"""What it means for a study that each of its trials trains once for each fold (``drft.run_folds``)."""

from typing import TYPE_CHECKING

from drft.config.trial_config import SplitConfig
from drft.errors import UsageError
from study.pruners.names import Pruner

if TYPE_CHECKING:  # who reads a study needs no search spaces
    from study.space import BoundSpace

COMPARED = 3
"""Folds that are compared with the best trial's before a trial is stopped. Fewer cannot be told from chance: even where
all of two are worse, a signed-rank test has p = 1/4."""


def chosen_pruner(asked: Pruner | None, split: SplitConfig) -> Pruner:
    """Return the pruner of a study: what was asked for, else what suits it.

    Raises:
        UsageError: when that pruner compares epochs and trials have folds, or the other way round.
    """
    few = len(split.turns) <= COMPARED
    if not split.every_fold:
        if asked == "wilcoxon":
            raise UsageError("--pruner wilcoxon: it compares folds, and these trials have none; say --folds 5, too")
        return asked or "asha"
    if asked == "wilcoxon" and few:
        raise UsageError(
            f"--pruner wilcoxon: it stops a trial after {COMPARED} folds at the earliest, and there are no more; say "
            f"--folds 5, or --pruner none"
        )
    if asked not in {None, "wilcoxon", "none"}:
        raise UsageError(
            f"--pruner {asked}: it compares epochs, and these trials compare folds; choose wilcoxon or none"
        )
    return asked or ("none" if few else "wilcoxon")


def check_folds(pruner: Pruner | None, space: "BoundSpace") -> None:
    """Refuse what does not go with folds, or without them.

    Raises:
        UsageError: when the pruner does not suit, or trainings would stop early, and so after different steps.
    """
    chosen_pruner(pruner, space.base.split)
    path = "early_stopping.patience"
    searched = any(dimension.path == path for dimension in space.dimensions)
    if space.base.split.every_fold and (searched or space.base.early_stopping.patience):
        raise UsageError(
            f"--folds: the space {space.name} sets {path}, and folds that end after different steps have no best step "
            "together; leave one of the two out"
        )
