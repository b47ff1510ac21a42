"""The figures of a comparison, from studies to named tuples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drft.errors import StudyError
from study.analysis import Curve, DepthRow, Withheld, depth_curves, depth_table, proportion
from study.analysis.estimators.intervals import Estimate
from study.analysis.estimators.paired import PairedDifference, paired_difference
from study.compare.changes import SettingDifference, changes
from study.results.study_results import StudyInfo, StudyResults, read_study

MOST = 8
"""So many studies can be told apart in one figure."""


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
    curve: Curve | Withheld
    """Over all completed trials, whatever their depth."""
    depths: tuple[DepthRow, ...] | Withheld


class BestDifference(NamedTuple):
    """The best trial of one study against that of another."""

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
        studies: two or more, as :func:`study.results.study_results.read_study` takes them.
        results: folder of studies.
        storage: URL of an Optuna storage that holds them all; None for the ``study.db`` of each.

    Raises:
        StudyError: when there is no such study, one is named twice, or there are too few or too many.
    """
    if not 2 <= len(studies) <= MOST:
        raise StudyError(f"{len(studies)} studies cannot be compared: name 2 to {MOST}")
    read = [read_study(study, results, storage) for study in studies]
    names = [one.info.name for one in read]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StudyError(f"study {twice[0]!r} is named twice: name different studies, with different names")
    return Comparison(
        infos=tuple(one.info for one in read),
        sides=tuple(map(_side, read)),
        against=tuple(_against(one, other) for one, other in combinations(read, 2)),
        changes=changes([one.info for one in read]),
    )


def _side(study: StudyResults) -> ComparedStudy:
    complete, n_validation = study.complete, int(study.info.split["n_validation"])
    curves = depth_curves(complete.assign(depth=0), study.epochs)
    return ComparedStudy(
        name=study.info.name,
        completed=len(complete),
        finished=int(study.trials["state"].isin(["COMPLETE", "PRUNED"]).sum()),
        best=_best(study.eligible.iloc[0].to_dict(), n_validation) if len(study.eligible) else Withheld(study.no_best),
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


def _against(one: StudyResults, other: StudyResults) -> BestDifference:
    return BestDifference(one.info.name, other.info.name, _paired(one, other))


def _paired(one: StudyResults, other: StudyResults) -> PairedDifference | Withheld:
    if one.info.dataset["fingerprint"] != other.info.dataset["fingerprint"]:
        return Withheld("their data are not the same")
    mine, theirs = _best_correct(one), _best_correct(other)
    for told in (mine, theirs):
        if isinstance(told, Withheld):
            return told
    assert isinstance(mine, dict)
    assert isinstance(theirs, dict)
    if mine.keys() != theirs.keys():
        shared = len(mine.keys() & theirs.keys())
        return Withheld(f"they were validated on different images ({shared} in common)")
    ids = list(mine)
    return paired_difference(np.array([mine[name] for name in ids]), np.array([theirs[name] for name in ids]))


def _best_correct(study: StudyResults) -> dict[str, bool] | Withheld:
    """Return which validation images the best trial got right, by id."""
    if study.eligible.empty:
        return Withheld(f"{study.info.name} has no best trial, {study.no_best}")
    best = study.eligible.iloc[0]
    told = study.predictions(int(best["number"]))
    if told is None:
        return Withheld(f"the predictions of trial {best['number']} of {study.info.name} are not in its folder")
    right: NDArray[np.bool_] = told.probabilities[int(best["best_step"]) - 1].argmax(axis=1) == told.grades
    return dict(zip(told.ids, right.tolist(), strict=True))
