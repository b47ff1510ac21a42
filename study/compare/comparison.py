"""The statistics of a comparison, from studies to named tuples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drft.errors import StudyError
from study.analysis import Curve, DepthRow, Withheld, proportion
from study.analysis.depth import depth_curves, depth_table
from study.analysis.estimators.intervals import Estimate
from study.analysis.estimators.paired import PairedDifference, paired_difference
from study.analysis.floor import FloorScores, score_floor
from study.compare.changes import SettingDifference, changes
from study.results.study_results import StudyInfo, StudyResults, read_study

MOST = 8
"""The most studies that a reader can distinguish in one figure."""


class BestTrial(NamedTuple):
    """The best completed trial of a study."""

    trial: int
    depth: int
    depth_fraction: float
    trainable_fraction: float
    accuracy: Estimate
    """Validation accuracy with Wilson's interval."""
    qwk: float
    gap: float
    step: int
    last_step: int


class ComparedStudy(NamedTuple):
    """One study of a comparison."""

    name: str
    completed: int
    finished: int
    best: BestTrial | Withheld
    floor: FloorScores | Withheld
    """Of a linear model on frozen features."""
    curve: Curve | Withheld
    """Over the completed trials of all depths."""
    depths: tuple[DepthRow, ...] | Withheld


class BestDifference(NamedTuple):
    """The best trial of one study compared with that of another."""

    one: str
    other: str
    paired: PairedDifference | Withheld


@dataclass(frozen=True, slots=True)
class Comparison:
    """Studies side by side."""

    infos: tuple[StudyInfo, ...]
    sides: tuple[ComparedStudy, ...]
    against: tuple[BestDifference, ...]
    changes: tuple[SettingDifference, ...]


def compare(studies: Sequence[str], results: Path = Path("results"), storage: str | None = None) -> Comparison:
    """Read studies and compare them.

    Args:
        studies: two or more, each as in :func:`study.results.study_results.read_study`.
        results: folder of studies.
        storage: URL of an Optuna storage that holds them all; None for the ``study.db`` of each.

    Raises:
        StudyError: when there is no such study, one is named twice, or there are too few or too many.
    """
    if not 2 <= len(studies) <= MOST:
        raise StudyError(f"{len(studies)} studies cannot be compared: name 2 to {MOST}")
    loaded = [read_study(study, results, storage) for study in studies]
    names = [study.info.name for study in loaded]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StudyError(f"study {twice[0]!r} is named twice: name different studies, with different names")
    return Comparison(
        infos=tuple(study.info for study in loaded),
        sides=tuple(map(_side, loaded)),
        against=tuple(
            BestDifference(one.info.name, other.info.name, _paired(one, other))
            for one, other in combinations(loaded, 2)
        ),
        changes=changes([study.info for study in loaded]),
    )


def _side(study: StudyResults) -> ComparedStudy:
    complete, n_validation = study.complete, int(study.info.split["n_validation"])
    curves = depth_curves(complete.assign(depth=0), study.epochs)
    return ComparedStudy(
        name=study.info.name,
        completed=len(complete),
        finished=int(study.trials["state"].isin(["COMPLETE", "PRUNED"]).sum()),
        best=_best(study.eligible.iloc[0].to_dict(), n_validation) if len(study.eligible) else Withheld(study.no_best),
        floor=score_floor(study.floor),
        curve=curves if isinstance(curves, Withheld) else curves[0],
        depths=depth_table(complete, n_validation),
    )


def _best(row: dict[Any, Any], n_validation: int) -> BestTrial:
    return BestTrial(
        trial=int(row["number"]),
        depth=int(row["depth"]),
        depth_fraction=float(row["depth_fraction"]),
        trainable_fraction=float(row["trainable_fraction"]),
        accuracy=proportion(round(float(row["val_accuracy_best"]) * n_validation), n_validation),
        qwk=float(row["val_qwk_best"]),
        gap=float(row["gap_best"]),
        step=int(row["best_step"]),
        last_step=int(row["last_step"]),
    )


def _paired(one: StudyResults, other: StudyResults) -> PairedDifference | Withheld:
    if one.info.dataset["fingerprint"] != other.info.dataset["fingerprint"]:
        return Withheld("their data are not the same")
    right, other_right = _best_correct(one), _best_correct(other)
    if isinstance(right, Withheld):
        return right
    if isinstance(other_right, Withheld):
        return other_right
    if right.keys() != other_right.keys():
        shared = len(right.keys() & other_right.keys())
        return Withheld(f"they were validated on different images ({shared} in common)")
    return paired_difference(np.array(list(right.values())), np.array([other_right[name] for name in right]))


def _best_correct(study: StudyResults) -> dict[str, bool] | Withheld:
    """Return whether the best trial graded each validation image correctly, by id."""
    if study.eligible.empty:
        return Withheld(f"{study.info.name} has no best trial, {study.no_best}")
    best = study.eligible.iloc[0]
    predictions = study.predictions(int(best["number"]))
    if predictions is None:
        return Withheld(f"the predictions of trial {best['number']} of {study.info.name} are not in its folder")
    predicted = predictions.probabilities[int(best["best_step"]) - 1].argmax(axis=1)
    return dict(zip(predictions.ids, (predicted == predictions.grades).tolist(), strict=True))
