"""The evidence for the verdict: out-of-fold results of a study's finalists."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.analysis.estimators.ensemble_gain import ensemble_gain
from study.analysis.estimators.intervals import Withheld
from study.analysis.verdict import DepthEvidence, Verdict, decide_depth
from study.results.finalists_plan import UNTUNED, Finalists, read_finalists
from study.results.floor import Floor, NoFloor
from study.results.metric_names import epoch_scores
from study.results.study_results import StudyResults


class FoldTraining(NamedTuple):
    """One fold of one finalist."""

    ids: tuple[str, ...]
    """Names of the images of the fold."""
    grades: NDArray[np.int64]
    """True grades of these images, shape (images,)."""
    probabilities: NDArray[np.floating]
    """Class probabilities after each epoch, shape (epochs, images, classes)."""
    scores: NDArray[np.float64]
    """Validation score after each epoch, higher is better, shape (epochs,)."""
    gaps: NDArray[np.float64]
    """Train minus validation accuracy after each epoch, shape (epochs,)."""
    trial: int
    """Number of its trial."""


class Evidence(NamedTuple):
    """Out-of-fold results of all finalists, on the same images in the same order."""

    depths: tuple[DepthEvidence, ...]
    """One for each depth whose cross-validation is complete, shallowest first."""
    untuned: DepthEvidence | None
    """The untuned configuration."""
    images: tuple[str, ...]
    """Names of the images."""
    grades: NDArray[np.int64]
    """Their true grades, shape (images,)."""
    probabilities: tuple[NDArray[np.floating], ...]
    """Out-of-fold probabilities of each of ``depths``, shape (rounds, images, classes)."""
    left_out: tuple[int, ...]
    """The other depths of the plan, shallowest first."""


def read_verdict(study: StudyResults) -> Verdict | Withheld:
    """Return the verdict of a study's finalists; withheld before the first round of cross-validation is over."""
    evidence = find_evidence(study)
    return evidence if isinstance(evidence, Withheld) else judge(evidence, study.floor)


def find_evidence(study: StudyResults) -> Evidence | Withheld:
    """Return the evidence for the verdict of a study; withheld before the first round of cross-validation is over.

    The longest trainings come first, so that the depths which are complete before that are no fair sample.
    """
    if study.info.goal != "depth":
        return Withheld("the study was not run with --goal depth, so no depth was cross-validated")
    finalists = read_finalists(study)
    if finalists is None:
        return Withheld("the finalists of the depths are not trained yet: resume the run")
    first = {*finalists.plan.indices(0, range(len(finalists.plan.finalists)))}
    if to_come := len(first - {*finalists.done} - finalists.diverged - finalists.failed):
        return Withheld(f"the cross-validation lacks {to_come} of its first {len(first)} trainings: resume the run")
    evidence = read_evidence(finalists)
    if len(evidence.depths) < 2:
        return Withheld(_too_few(finalists))
    return evidence


def _too_few(finalists: Finalists) -> str:
    """Return why fewer than two depths are complete although all trainings are over."""
    unread = sum(finalists.results.predictions(number) is None for number in finalists.done.values())
    causes = {
        "diverged": len(finalists.diverged),
        "failed": len(finalists.failed),
        "have no readable predictions": unread,
    }
    counts = " and ".join(f"{number} {cause}" for cause, number in causes.items() if number)
    advice = ": resume the run" if finalists.failed else ""
    return f"fewer than two depths are cross-validated, since of their trainings {counts}{advice}"


def judge(evidence: Evidence, floor: Floor | NoFloor) -> Verdict:
    """Return the verdict that follows from the evidence, compared with the floor of the same study."""
    verdict = decide_depth(
        evidence.depths,
        evidence.untuned,
        _floor_correct(floor, evidence.images),
        lambda members: ensemble_gain(evidence.probabilities, evidence.grades, members),
    )
    return verdict._replace(left_out=evidence.left_out)


def _floor_correct(floor: Floor | NoFloor, images: Sequence[str]) -> NDArray[np.bool_] | None:
    """Return whether the linear model classified each image correctly out of fold; None if it has not seen them all."""
    if isinstance(floor, NoFloor):
        return None
    correct = dict(zip(floor.predictions.ids, floor.correct, strict=True))
    return np.array([correct[name] for name in images]) if correct.keys() >= set(images) else None


def read_evidence(finalists: Finalists, rounds: int | None = None) -> Evidence:
    """Read the stored predictions of the finalists.

    A round of a finalist counts if all of its folds have finished and their predictions are stored.

    Args:
        finalists: the cross-validated configurations.
        rounds: how many rounds count, from the first; None for all.
    """
    plan = finalists.plan
    trainings = _read_trainings(finalists)
    fractions = {
        int(row["number"]): (float(row["depth_fraction"]), float(row["trainable_fraction"]))
        for row in finalists.results.complete.to_dict("records")
    }
    depths: list[DepthEvidence] = []
    untuned: DepthEvidence | None = None
    images: tuple[str, ...] = ()
    probabilities: list[NDArray[np.floating]] = []
    grades: dict[str, int] = {}
    for position, finalist in enumerate(plan.finalists):
        planned = [plan.indices(number, [position]) for number in range(rounds or plan.rounds)]
        complete = [indices for indices in planned if all(index in trainings for index in indices)]
        if not complete:
            continue
        folds = [[trainings[index] for index in indices] for indices in complete]
        images = images or tuple(sorted(name for fold in folds[0] for name in fold.ids))
        grades |= {name: int(grade) for fold in folds[0] for name, grade in zip(fold.ids, fold.grades, strict=True)}
        depth_fraction, trainable_fraction = fractions[finalists.done[complete[0][0]]]
        evidence, predicted = out_of_fold(folds, images, finalist.depth, depth_fraction, trainable_fraction)
        if finalist.name == UNTUNED:
            untuned = evidence
        else:
            depths.append(evidence)
            probabilities.append(predicted)
    true = np.array([grades[name] for name in images], dtype=np.int64)
    complete_depths = {row.depth for row in depths}
    planned_depths = (finalist.depth for finalist in plan.finalists if finalist.name != UNTUNED)
    left_out = tuple(depth for depth in planned_depths if depth not in complete_depths)
    return Evidence(tuple(depths), untuned, images, true, tuple(probabilities), left_out)


def out_of_fold(
    rounds: Sequence[Sequence[FoldTraining]],
    images: Sequence[str],
    depth: int,
    depth_fraction: float,
    trainable_fraction: float,
) -> tuple[DepthEvidence, NDArray[np.floating]]:
    """Return the results of one finalist, each fold scored at the epoch that the other folds of its round choose.

    The best epoch of a fold itself would flatter: it is the highest of several measurements on the images that are then
    scored (Stone 1974; Varma & Simon 2006).

    Args:
        rounds: the folds of each round.
        images: names of all images, in the order of the result.
        depth: of the finalist.
        depth_fraction: likewise.
        trainable_fraction: likewise.

    Returns:
        The results, and the probabilities that they rest on, shape (rounds, images, classes).
    """
    positions = {name: index for index, name in enumerate(images)}
    correct = np.zeros((len(rounds), len(images)), dtype=np.bool_)
    fold_of = np.zeros((len(rounds), len(images)), dtype=np.int64)
    probabilities = np.zeros((len(rounds), len(images), rounds[0][0].probabilities.shape[2]), dtype=np.float32)
    gaps, gaps_last, epochs, trials = [], [], [], []
    for row, folds in enumerate(rounds):
        scores = np.array([fold.scores for fold in folds])
        for number, fold in enumerate(folds):
            epoch = int(np.delete(scores, number, axis=0).mean(axis=0).argmax())
            columns = [positions[name] for name in fold.ids]
            probabilities[row, columns] = fold.probabilities[epoch]
            correct[row, columns] = fold.probabilities[epoch].argmax(axis=1) == fold.grades
            fold_of[row, columns] = number
            gaps.append(fold.gaps[epoch])
            gaps_last.append(fold.gaps[-1])
            epochs.append(epoch + 1)
            trials.append(fold.trial)
    evidence = DepthEvidence(
        depth,
        depth_fraction,
        trainable_fraction,
        correct,
        fold_of,
        np.array(gaps),
        np.array(gaps_last),
        tuple(epochs),
        tuple(trials),
    )
    return evidence, probabilities


def _read_trainings(finalists: Finalists) -> dict[int, FoldTraining]:
    """Return the completed trainings whose predictions are stored, by their index in the plan."""
    results = finalists.results
    epochs = dict(tuple(results.epochs.groupby("trial")))
    trainings = {}
    for index, number in finalists.done.items():
        predictions = results.predictions(number)
        if predictions is None or number not in epochs:  # missing, or damaged
            continue
        records = epochs[number]
        trainings[index] = FoldTraining(
            predictions.ids,
            predictions.grades,
            predictions.probabilities,
            np.array(epoch_scores(records, results.info.metric), dtype=np.float64),
            (records["train_accuracy"] - records["val_accuracy"]).to_numpy(dtype=np.float64),
            number,
        )
    return trainings
