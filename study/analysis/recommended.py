"""The cross-validated trainings at the recommended depth: their curves, the epochs they keep, and their predictions."""

from typing import NamedTuple

from study.analysis.depth import Curve, depth_curves
from study.analysis.estimators.grading import Grading, grading
from study.analysis.estimators.intervals import Estimate, Withheld, bootstrap_mean
from study.analysis.evidence import Evidence
from study.results.finalists_plan import read_finalists
from study.results.study_results import StudyResults


class KeptEpoch(NamedTuple):
    """The epoch that is kept of one training: the one that the other folds of its round choose."""

    trial: int
    """Number of its trial among the finalists."""
    epoch: int
    last_epoch: int
    accuracy: float
    """Validation accuracy at the epoch that is kept."""
    accuracy_last: float
    """Validation accuracy at the last epoch."""


class RecommendedDepth(NamedTuple):
    """The trainings at the recommended depth."""

    depth: int
    rounds: int
    """How many times each image was predicted, by trainings with other folds and seeds."""
    curve: Curve
    kept: tuple[KeptEpoch, ...]
    """One for each training."""
    gain: Estimate
    """Mean of accuracy at the epoch that is kept minus at the last one; percentile bootstrap over trainings. No image
    chose the epoch at which it is scored, so that the gain is not optimistic."""
    grading: Grading | Withheld
    """Of the out-of-fold predictions; those of several rounds are averaged."""


def read_recommended(study: StudyResults, evidence: Evidence, depth: int) -> RecommendedDepth | Withheld:
    """Read the finalists' trainings at a depth.

    Withheld when no round of them is complete.

    Args:
        study: the study.
        evidence: of its finalists.
        depth: the depth.
    """
    finalists = read_finalists(study)
    assert finalists is not None
    by_depth = {
        row.depth: (row, probabilities)
        for row, probabilities in zip(evidence.depths, evidence.probabilities, strict=True)
    }
    if depth not in by_depth:
        return Withheld(f"depth {depth} is not cross-validated")
    trainings, probabilities = by_depth[depth]
    table = finalists.results.complete
    curves = depth_curves(table[table["number"].isin(trainings.trials)], finalists.results.epochs)
    if isinstance(curves, Withheld):
        return curves
    accuracies = finalists.results.epochs.set_index(["trial", "step"])["val_accuracy"]
    kept = []
    for trial, epoch in zip(trainings.trials, trainings.epochs, strict=True):
        curve = accuracies.loc[trial]
        kept.append(KeptEpoch(trial, epoch, int(curve.index[-1]), float(curve[epoch]), float(curve.iloc[-1])))
    return RecommendedDepth(
        depth=depth,
        rounds=len(probabilities),
        curve=curves[0],
        kept=tuple(kept),
        gain=bootstrap_mean([each.accuracy - each.accuracy_last for each in kept]),
        grading=grading(evidence.grades, probabilities.mean(axis=0), ordinal=study.info.ordinal),
    )
