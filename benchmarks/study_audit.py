"""Checks that a study is consistent: every trial has one ending, and its files are equal to its record."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel

from drft.config.trial_config import TrialConfig
from drft.data import ImageDataset
from drft.training.trial import run_trial
from study.results.epochs import unpack
from study.results.progress import FINISHED

_FILES = ("config.yaml", "epochs.csv", "predictions.npz")
_COMPARED = ("step", "train_loss", "val_loss", "val_accuracy")


class StudyAudit(BaseModel):
    """What an audit counted and found; ``faults`` is empty when the study is consistent."""

    states: dict[str, int]
    retries: int
    """Trials that repeat another one."""
    half_written: int
    """Hidden folders that killed tuners left; the next run deletes them."""
    replayed: int
    """Finished trials that were trained again without disturbance and compared bit for bit."""
    faults: list[str]


def audit(trials: Sequence[FrozenTrial], folder: Path, wanted: int, dataset: ImageDataset, replays: int) -> StudyAudit:
    """Check that a finished study is consistent.

    Args:
        trials: all trials of the study.
        folder: the study's folder.
        wanted: expected number of finished trials.
        dataset: the study's images.
        replays: how many finished trials are trained again and compared; the best one is among them.
    """
    finished = [trial for trial in trials if trial.state in FINISHED]
    best = max((t for t in finished if t.state == TrialState.COMPLETE), key=lambda t: t.value or 0.0)
    others = [trial for trial in finished[:: max(1, len(finished) // max(1, replays))] if trial is not best]
    repeated = [best, *others][:replays]
    faults = [*_number_faults(trials, wanted), *_retry_faults(trials), *_file_faults(trials, folder / "trials")]
    return StudyAudit(
        states=dict(Counter(trial.state.name for trial in trials)),
        retries=sum("retry_of" in trial.user_attrs for trial in trials),
        half_written=sum(1 for _ in (folder / "trials").glob(".*")),
        replayed=len(repeated),
        faults=faults + [fault for trial in repeated for fault in _replay_faults(trial, dataset)],
    )


def _number_faults(trials: Sequence[FrozenTrial], wanted: int) -> Iterator[str]:
    states = Counter(trial.state for trial in trials)
    if [trial.number for trial in trials] != list(range(len(trials))):
        yield "trial numbers are not 0, 1, 2 ..."
    if (finished := sum(states[state] for state in FINISHED)) != wanted:
        yield f"{finished} trials finished, {wanted} were wanted"
    if states[TrialState.RUNNING]:
        yield f"{states[TrialState.RUNNING]} trials are left running"


def _retry_faults(trials: Sequence[FrozenTrial]) -> Iterator[str]:
    """Yield trials that were queued again more than once, or that did not fail."""
    retries = Counter(trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs)
    for number, count in retries.items():
        if count > 1:
            yield f"trial {number} was queued again {count} times"
        if trials[number].state != TrialState.FAIL:
            yield f"trial {number} is {trials[number].state.name} and was queued again"


def _file_faults(trials: Sequence[FrozenTrial], folder: Path) -> Iterator[str]:
    folders = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    names = {f"{trial.number:04d}": trial for trial in trials}
    for name, trial in names.items():
        if trial.state in FINISHED:
            yield from _trial_faults(trial, folder / name)
        elif name in folders and not (folder / name / "failure.txt").exists():
            yield f"trial {trial.number} did not finish and has files of a result"
    yield from (f"folder {name} belongs to no trial" for name in sorted(folders - names.keys()))


def _trial_faults(trial: FrozenTrial, folder: Path) -> Iterator[str]:
    missing = [name for name in _FILES if not (folder / name).exists()]
    if missing:
        yield f"trial {trial.number} lacks {', '.join(missing)}"
        return
    records = unpack(trial.user_attrs)
    with (folder / "epochs.csv").open(newline="") as file:
        rows = [[row[name] for name in _COMPARED] for row in csv.DictReader(file)]
    if rows != [[str(getattr(record, name)) for name in _COMPARED] for record in records]:
        yield f"trial {trial.number}: epochs.csv differs from the record"
    with np.load(folder / "predictions.npz") as predictions:
        steps = {predictions[f"{part}_probabilities"].shape[0] for part in ("train", "validation")}
    if steps != {len(records)}:
        yield f"trial {trial.number}: predictions.npz and the record have different epochs"


def _replay_faults(trial: FrozenTrial, dataset: ImageDataset) -> Iterator[str]:
    """Train a trial again, without disturbance and for as many epochs; its records must be equal."""
    records = unpack(trial.user_attrs)
    config = TrialConfig.model_validate_json(trial.user_attrs["config"])
    result = run_trial(config, dataset, lambda record: record.step < len(records))
    if list(result.records) != records:
        yield f"trial {trial.number}: an undisturbed training of it has other records"
