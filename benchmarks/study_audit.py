"""The books of a study: does every trial have one ending, and files that say what its record says?"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel

from drft.config.trial_config import TrialConfig
from drft.data import ImageDataset
from drft.training.records import EpochRecord
from drft.training.trial import run_trial
from study.results.epochs import unpack
from study.results.progress import FINISHED

_FILES = ("config.yaml", "epochs.csv", "predictions.npz")


class StudyAudit(BaseModel):
    """What there is to say of a study that has come to its goal; ``faults`` is empty when the books balance."""

    states: dict[str, int]
    retries: int
    """Trials that repeat another one."""
    half_written: int
    """Hidden folders that killed drivers left; the next run clears them away."""
    replayed: int
    """Finished trials that were trained again, undisturbed, and compared bit for bit."""
    faults: list[str]


def audit(trials: Sequence[FrozenTrial], folder: Path, wanted: int, dataset: ImageDataset, replays: int) -> StudyAudit:
    """Check the books.

    Args:
        trials: all trials of the study.
        folder: the study's folder.
        wanted: how many finished trials there should be.
        dataset: the study's images.
        replays: how many finished trials are trained again to compare; the best one is among them.
    """
    finished = [trial for trial in trials if trial.state in FINISHED]
    best = max((t for t in finished if t.state == TrialState.COMPLETE), key=lambda t: t.value or 0.0)
    again = [best, *(trial for trial in finished[:: max(1, len(finished) // max(1, replays))] if trial is not best)][
        :replays
    ]
    faults = [*_of_numbers(trials, wanted), *_of_repetitions(trials), *_of_files(trials, folder / "trials")]
    return StudyAudit(
        states=dict(Counter(trial.state.name for trial in trials)),
        retries=sum("retry_of" in trial.user_attrs for trial in trials),
        half_written=sum(1 for _ in (folder / "trials").glob(".*")),
        replayed=len(again),
        faults=faults + [fault for trial in again for fault in _of_replay(trial, dataset)],
    )


def _of_numbers(trials: Sequence[FrozenTrial], wanted: int) -> Iterator[str]:
    states = Counter(trial.state for trial in trials)
    if [trial.number for trial in trials] != list(range(len(trials))):
        yield "trial numbers are not 0, 1, 2 ..."
    if (finished := sum(states[state] for state in FINISHED)) != wanted:
        yield f"{finished} trials finished, {wanted} were wanted"
    if states[TrialState.RUNNING]:
        yield f"{states[TrialState.RUNNING]} trials are left running"


def _of_repetitions(trials: Sequence[FrozenTrial]) -> Iterator[str]:
    """Each configuration that was asked for finishes once, however often it was tried."""
    tries = Counter(trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs)
    for number, count in tries.items():
        if count > 1:
            yield f"trial {number} was queued again {count} times"
        if trials[number].state != TrialState.FAIL:
            yield f"trial {number} is {trials[number].state.name} and was queued again"


def _of_files(trials: Sequence[FrozenTrial], folder: Path) -> Iterator[str]:
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    for trial in trials:
        name = f"{trial.number:04d}"
        if trial.state in FINISHED:
            yield from _of_trial(trial, folder / name)
        elif name in there and not (folder / name / "failure.txt").exists():
            yield f"trial {trial.number} did not finish and has files of a result"
    known = {f"{trial.number:04d}" for trial in trials}
    yield from (f"folder {name} is of no trial" for name in sorted(there - known))


def _of_trial(trial: FrozenTrial, folder: Path) -> Iterator[str]:
    missing = [name for name in _FILES if not (folder / name).exists()]
    if missing:
        yield f"trial {trial.number} lacks {', '.join(missing)}"
        return
    records = unpack(trial.user_attrs)
    with (folder / "epochs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if [_told(row) for row in rows] != [_told(_as_row(record)) for record in records]:
        yield f"trial {trial.number}: epochs.csv differs from the record"
    with np.load(folder / "predictions.npz") as predictions:
        steps = {predictions[f"{part}_probabilities"].shape[0] for part in ("train", "validation")}
    if steps != {len(records)}:
        yield f"trial {trial.number}: predictions.npz is of other steps than the record"


def _as_row(record: EpochRecord) -> dict[str, str]:
    return {name: str(getattr(record, name)) for name in ("step", "train_loss", "val_loss", "val_accuracy")}


def _told(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("step", "train_loss", "val_loss", "val_accuracy"))


def _of_replay(trial: FrozenTrial, dataset: ImageDataset) -> Iterator[str]:
    """Train a trial again, undisturbed, for as many epochs as it had; its records must be equal."""
    records = unpack(trial.user_attrs)
    config = TrialConfig.model_validate_json(trial.user_attrs["config"])
    result = run_trial(config, dataset, lambda record: record.step < len(records))
    if list(result.records) != records:
        yield f"trial {trial.number}: an undisturbed training of it has other records"
