"""The floor: how well a linear model on frozen features predicts, which a fine-tuning has to beat."""

from typing import NamedTuple

from drft.metrics import confusion
from study.analysis.estimators.grading import NOT_ORDERED, balanced_accuracy_estimate, kappa_estimate
from study.analysis.estimators.intervals import Estimate, Withheld, proportion
from study.results.floor import Floor, NoFloor


class FloorScores(NamedTuple):
    """Scores of the floor's out-of-fold predictions; they chose nothing, so they are not optimistic."""

    model: str
    """The linear model: ``ridge``."""
    backbone: str
    """The frozen backbone; of several, the first one."""
    image_size: int
    """In pixels."""
    folds: int
    n: int
    """Training images, each predicted by the model that was fitted on the other folds."""
    accuracy: Estimate
    """Wilson's interval over images."""
    balanced_accuracy: Estimate
    """Mean recall of the grades that occur; Wilson's intervals of the recalls combined."""
    qwk: Estimate | Withheld
    """Quadratic weighted kappa; percentile bootstrap over images."""
    seconds: float
    """Time to compute features and predictions."""


def score_floor(floor: Floor | NoFloor, *, ordinal: bool = True) -> FloorScores | Withheld:
    """Score the out-of-fold predictions of a floor; classes that are not ``ordinal`` have no kappa.

    Valid for models that are fitted on as many images as a fold leaves (80 %). The intervals take images as
    independent; that folds share training images is neglected (Bengio & Grandvalet 2004). Withheld where there is no
    floor.
    """
    if isinstance(floor, NoFloor):
        return Withheld(floor.reason)
    predictions = floor.predictions
    counts = confusion(predictions.grades, predictions.predicted, predictions.scores.shape[1])
    return FloorScores(
        model=floor.model,
        backbone=floor.backbone,
        image_size=int(floor.inputs["image_size"]),
        folds=floor.folds,
        n=len(predictions.ids),
        accuracy=proportion(int(floor.correct.sum()), len(predictions.ids)),
        balanced_accuracy=balanced_accuracy_estimate(counts),
        qwk=kappa_estimate(counts) if ordinal else NOT_ORDERED,
        seconds=floor.seconds,
    )
