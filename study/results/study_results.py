"""A study read back as tidy tables: one row per trial, one row per epoch, and what the study is about.

Everything but the predictions comes from the Optuna storage, so a study can be read without its folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import Metric
from drft.errors import StudyError
from drft.training.records import EpochRecord, Predictions, best_record
from study.results.epochs import unpack
from study.results.locate import StudyLocation, find_study
from study.results.progress import is_feasible
from study.results.study_metadata import READABLE, SCHEMA
from study.storage.open import public_url

_FIRST = ("step", "phase", "epoch", "train_accuracy", "val_accuracy", "train_loss", "val_loss", "val_qwk", "seconds")
EPOCH_COLUMNS = ("trial", *_FIRST, *(field.name for field in fields(EpochRecord) if field.name not in _FIRST))

OUTCOME_COLUMNS = (
    *("best_step", "best_phase", "val_accuracy_best", "train_accuracy_best", "gap_best"),
    *("val_accuracy_last", "train_accuracy_last", "gap_last", "val_qwk_best"),
    *("seconds", "worker", "retry_of", "fail_reason"),
)
FURTHER_COLUMNS = ("score", "last_step", "ending", "device", "control", "would_prune", "folds", "feasible")
WHOLE_NUMBERS = ("number", "depth", "best_step", "last_step", "retry_of", "would_prune", "folds")


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """What a study is about, as the run that made it wrote it down."""

    name: str
    folder: Path
    """``results/NAME``; it need not exist."""
    url: str
    """Storage URL without its password."""
    metric: Metric
    source: str
    source_options: Mapping[str, str]
    """Options of the data source; none are known of a study that an older version made."""
    dataset: Mapping[str, Any]
    split: Mapping[str, Any]
    blocks: Sequence[Mapping[str, Any]]
    """Of the backbone; of the first one, where several are searched."""
    backbones: Mapping[str, int]
    """Blocks of each backbone by its name, where several are searched, else nothing."""
    base_config: Mapping[str, Any]
    space: str
    space_fingerprint: str
    seed: int
    sampler: str
    pruner: str
    command: str
    versions: Mapping[str, str]
    trials_wanted: int
    max_gap: float | None
    """The gap that a feasible trial has at most at its best step; None for no limit."""
    dimensions: Mapping[str, BaseDistribution]
    """The searched dimensions, by their path in TrialConfig, in the order of their first appearance."""
    started: datetime | None
    finished: datetime | None

    def block_count(self, backbone: object = None) -> int:
        """Return how many blocks a backbone has: a trial's ``backbone.name``, or None where the study has one."""
        return self.backbones.get(str(backbone), len(self.blocks))


@dataclass(frozen=True)
class StudyResults:
    """One study, read once: later changes of its storage are not seen."""

    place: StudyLocation
    info: StudyInfo
    trials: pd.DataFrame
    """One row per trial, ordered by number; ``score`` is the study's metric at the best step, ``control`` says that the
    trial was never to be pruned, and ``would_prune`` at which step (or fold, from 0) it would have been; ``folds``
    counts those that ran, where a trial is a training for each; ``feasible`` says whether the gap at the best step is
    within the study's limit, if there is one."""
    epochs: pd.DataFrame
    """One row per trial and step, in that order."""

    @cached_property
    def complete(self) -> pd.DataFrame:
        """The trials that ran to their own end and have a best step, highest score (then lowest number) first."""
        ended = self.trials[(self.trials["state"] == "COMPLETE") & self.trials["best_step"].notna()]
        return ended.sort_values(["score", "number"], ascending=[False, True], ignore_index=True)

    def of_best_backbone(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return the trials with the backbone of the best trial; all, where the study has one backbone.

        Depths compare within one backbone only: equally many blocks are another share of the next one.
        """
        if not self.info.backbones or self.complete.empty:
            return trials
        ranked = self.complete if self.eligible.empty else self.eligible
        return trials[trials["backbone.name"].eq(ranked["backbone.name"].iloc[0])].copy()

    @cached_property
    def eligible(self) -> pd.DataFrame:
        """Those of them that can be the best: all, or the feasible ones of a study with a limit on the gap."""
        return self.complete[self.complete["feasible"].astype(bool)].reset_index(drop=True)

    @property
    def no_best(self) -> str:
        """Why no trial is the best one, where none is eligible."""
        if self.complete.empty:
            return "no trial has completed"
        return f"all {len(self.complete)} completed trials have a gap above {self.info.max_gap:g} at their best step"

    def predictions(self, number: int, part: Literal["train", "validation"] = "validation") -> Predictions | None:
        """Return the class probabilities of a trial at every step, or None if its folder does not hold them.

        There is no part ``test`` here: only ``study.results.test_set`` reads the test set, once it may be opened.
        """
        file = self.predictions_file(number)
        return read_predictions(file.parent, part) if file.is_file() else None

    def predictions_file(self, number: int) -> Path:
        """Return where the predictions of a trial are, if it has any."""
        return self.info.folder / "trials" / f"{number:04d}" / "predictions.npz"


def read_study(study: str, results: Path = Path("results"), storage: str | None = None) -> StudyResults:
    """Read a study; arguments as :func:`study.results.locate.find_study` takes them.

    Raises:
        StudyError: when there is no such study, or when it was not written by this program.
    """
    return read_place(find_study(study, results, storage))


def read_place(place: StudyLocation) -> StudyResults:
    """Read the study that is there; errors as in :func:`read_study`."""
    opened = place.open()
    attributes = opened.user_attrs
    if attributes.get("drft_schema") not in READABLE:
        raise StudyError(
            f"study {place.name!r} in {public_url(place.url)} is not a drft-study of schema {SCHEMA} or older "
            f"(it says {attributes.get('drft_schema')!r}): read it with the version of the program that wrote it"
        )
    frozen = opened.get_trials(deepcopy=False)
    info = _info(place, attributes, frozen)
    records = {trial.number: unpack(trial.user_attrs) for trial in frozen}
    return StudyResults(place, info, _trials_table(info, frozen, records), _epochs_table(records))


def read_predictions(trial: Path, part: Literal["train", "validation"]) -> Predictions:
    """Return the class probabilities that the folder of a trial holds. There is no part ``test``: it stays sealed.

    Raises:
        FileNotFoundError: when it holds none.
    """
    with np.load(trial / "predictions.npz", allow_pickle=False) as stored:
        ids = tuple(str(name) for name in stored[f"{part}_ids"])
        return Predictions(ids, stored[f"{part}_grades"], stored[f"{part}_probabilities"])


def _info(place: StudyLocation, attributes: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> StudyInfo:
    started = [trial.datetime_start for trial in trials if trial.datetime_start]
    finished = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    texts = ("metric", "source", "space", "space_fingerprint", "seed", "sampler", "pruner", "command", "trials_wanted")
    decoded = ("split", "blocks", "base_config", "versions")
    missing = [name for name in (*texts, "cohort", *decoded) if name not in attributes]
    if missing:
        raise StudyError(f"study {place.name!r} in {public_url(place.url)} lacks {', '.join(missing)}: it is not whole")
    return StudyInfo(
        name=place.name,
        folder=place.folder,
        url=public_url(place.url),
        dimensions={name: dist for trial in trials for name, dist in trial.distributions.items()},
        started=min(started, default=None),
        finished=max(finished, default=None),
        **{name: attributes[name] for name in texts},
        dataset=json.loads(attributes["cohort"]),
        **{name: json.loads(attributes[name]) for name in decoded},
        max_gap=attributes.get("max_gap"),
        source_options=json.loads(attributes.get("source_options", "{}")),
        backbones=json.loads(attributes.get("backbones", "{}")),
    )


def _epochs_table(records: Mapping[int, Sequence[EpochRecord]]) -> pd.DataFrame:
    rows = [
        (number, *(getattr(record, column) for column in EPOCH_COLUMNS[1:]))
        for number, told in records.items()
        for record in told
    ]
    return pd.DataFrame(rows, columns=list(EPOCH_COLUMNS))


def _trials_table(
    info: StudyInfo, trials: Sequence[FrozenTrial], records: Mapping[int, Sequence[EpochRecord]]
) -> pd.DataFrame:
    searched = [name for name in info.dimensions if name not in {"depth", "depth_fraction"}]
    columns = ["number", "state", "depth", "depth_fraction", "trainable_fraction", *searched]
    rows = [_trial_row(trial, records[trial.number], info.metric) for trial in trials]
    table = pd.DataFrame(rows, columns=[*columns, *OUTCOME_COLUMNS, *FURTHER_COLUMNS])
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def _trial_row(trial: FrozenTrial, records: Sequence[EpochRecord], metric: Metric) -> dict[str, Any]:
    names = ("depth", "depth_fraction", "trainable_fraction", "seconds", "worker", "retry_of", "fail_reason")
    told = {name: trial.user_attrs.get(name) for name in (*names, *FURTHER_COLUMNS)}
    told["depth"] = trial.params.get("depth") if told["depth"] is None else told["depth"]
    # Where it was searched, the share that was asked for; depth is the nearest whole number of blocks.
    told["depth_fraction"] = trial.params.get("depth_fraction", told["depth_fraction"])
    return {
        **trial.params,
        **told,
        "number": trial.number,
        "state": TrialState(trial.state).name,
        **(_outcome(list(records), metric) if records else {}),
        "feasible": is_feasible(trial),
    }


def _outcome(records: list[EpochRecord], metric: Metric) -> dict[str, Any]:
    best, last = best_record(records, metric), records[-1]
    return {
        "best_step": best.step,
        "best_phase": best.phase,
        "val_accuracy_best": best.val_accuracy,
        "train_accuracy_best": best.train_accuracy,
        "gap_best": best.gap,
        "val_accuracy_last": last.val_accuracy,
        "train_accuracy_last": last.train_accuracy,
        "gap_last": last.gap,
        "val_qwk_best": best.val_qwk,
        "score": best.score(metric),
        "last_step": last.step,
    }
