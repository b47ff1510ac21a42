"""A study read back as tables: its metadata, one row per trial and one row per epoch.

Everything but the predictions comes from the Optuna storage, so a study can be read without its folder.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from drft.config.trial_config import Metric, TrialConfig
from drft.data.dataset import GRADES
from drft.errors import StudyError
from drft.training.records import EpochRecord, Predictions, best_record
from study.results.epochs import unpack
from study.results.floor import Floor, NoFloor, read_floor
from study.results.locate import StudyLocation, find_study
from study.results.predictions_file import load_predictions, name_damage
from study.results.progress import FINISHED, counted, is_feasible
from study.results.study_folder import CHECKPOINT
from study.results.study_metadata import READABLE, SCHEMA
from study.storage.open import public_url

_FIRST = ("step", "phase", "epoch", "train_accuracy", "val_accuracy", "train_loss", "val_loss", "val_qwk", "seconds")
EPOCH_COLUMNS = ("trial", *_FIRST, *(field.name for field in fields(EpochRecord) if field.name not in _FIRST))

OUTCOME_COLUMNS = (
    *("best_step", "best_phase", "val_accuracy_best", "train_accuracy_best", "gap_best"),
    *("val_accuracy_last", "train_accuracy_last", "gap_last", "val_qwk_best"),
    *("seconds", "worker", "retry_of", "fail_reason"),
)
FURTHER_COLUMNS = ("score", "last_step", "ending", "device", "control", "would_prune", "folds", "block", "feasible")
WHOLE_NUMBERS = ("number", "depth", "best_step", "last_step", "retry_of", "would_prune", "folds", "block")


_KEYS: Mapping[str, Collection[str]] = {"cohort": ("fingerprint",), "split": ("n_train",)}
"""Keys of attributes that are stored as JSON; without them they are foreign."""


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """The metadata of a study, as the run that created it recorded them."""

    name: str
    folder: Path
    """``results/NAME``; it may not exist."""
    url: str
    """Storage URL without its password."""
    metric: Metric
    source: str
    source_options: Mapping[str, str]
    """Options of the data source; empty for a study of an older version, which did not record them."""
    dataset: Mapping[str, Any]
    split: Mapping[str, Any]
    blocks: Sequence[Mapping[str, Any]]
    """Blocks of the backbone; of the first backbone, if several are searched."""
    backbones: Mapping[str, int]
    """Number of blocks by backbone name, if several are searched; else empty."""
    base_config: Mapping[str, Any]
    space: str
    space_fingerprint: str
    seed: int
    samplers: Sequence[str]
    """Samplers of its trials, in the order of their first trials; several if it was resumed with another one."""
    pruners: Sequence[str]
    """Pruners of its trials, likewise."""
    command: str
    versions: Mapping[str, str]
    trials_wanted: int
    goal: str
    """``depth`` or ``best``, see ``study.samplers.names.Goal``."""
    max_gap: float | None
    """The largest gap of a feasible trial at its best epoch; None for no limit."""
    dimensions: Mapping[str, BaseDistribution]
    """The searched dimensions by their path in TrialConfig, in order of first appearance."""
    started: datetime | None
    finished: datetime | None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; those of the international scale when the study recorded none."""
        return tuple(self.dataset.get("grades", GRADES))

    @property
    def ordinal(self) -> bool:
        """Whether the classes are ordered; those of version 0.1, which did not record it, are."""
        return bool(self.dataset.get("ordinal", True))

    @property
    def is_retinopathy(self) -> bool:
        """Whether the classes are the grades of retinopathy."""
        return self.ordinal and self.classes == GRADES

    def arguments(self) -> list[str]:
        """Return the arguments by which a command finds this study: its name, its path, or its storage."""
        if self.url == str((self.folder / "study.db").resolve()):
            return [self.name if self.folder == Path("results") / self.name else str(self.folder)]
        results = [] if self.folder.parent == Path("results") else ["--results", str(self.folder.parent)]
        return [self.name, "--storage", self.url, *results]

    def block_count(self, backbone: object = None) -> int:
        """Return the number of blocks of a backbone: a trial's ``backbone.name``, or None if the study has one."""
        return self.backbones.get(str(backbone), len(self.blocks))


@dataclass(frozen=True)
class StudyResults:
    """One study, read once: later changes in its storage are not seen."""

    location: StudyLocation
    info: StudyInfo
    trials: pd.DataFrame
    """One row per trial, ordered by number.

    ``score``: the study's metric at the best epoch. ``control``: whether the trial was exempt from pruning.
    ``would_prune``: the epoch (or fold, from 0) at which the pruner would have stopped it. ``folds``: number of folds
    that ran, if a trial is one training per fold. ``block``: with the goal ``depth``, which block of trials, one at
    each depth, it belongs to; a block has one split. ``feasible``: whether the gap at the best epoch is within the
    study's limit, if there is one.
    """
    epochs: pd.DataFrame
    """One row per trial and epoch, in that order."""
    damaged: list[str] = field(default_factory=list)
    """Files and attributes of the study that cannot be read, as far as they were needed, and what each costs."""

    @property
    def finished(self) -> pd.DataFrame:
        """The completed and the pruned trials, ordered by number."""
        return self.trials[self.trials["state"].isin([state.name for state in FINISHED])].reset_index(drop=True)

    @cached_property
    def complete(self) -> pd.DataFrame:
        """The completed trials that have a best epoch, highest score (then lowest number) first."""
        complete = self.trials[(self.trials["state"] == "COMPLETE") & self.trials["best_step"].notna()]
        return complete.sort_values(["score", "number"], ascending=[False, True], ignore_index=True)

    def of_best_backbone(self, trials: pd.DataFrame) -> pd.DataFrame:
        """Return the trials with the backbone of the best trial; all trials, if the study has one backbone.

        Depths can be compared within one backbone only: in another one, the same number of blocks is another fraction.
        """
        if not self.info.backbones or self.complete.empty:
            return trials
        ranked = self.complete if self.eligible.empty else self.eligible
        return trials[trials["backbone.name"].eq(ranked["backbone.name"].iloc[0])].copy()

    @cached_property
    def eligible(self) -> pd.DataFrame:
        """The completed trials that can be the best: all, or the feasible ones if the study limits the gap."""
        return self.complete[self.complete["feasible"].astype(bool)].reset_index(drop=True)

    @property
    def splits_change(self) -> str:
        """The reason why trials cannot be compared image by image; empty if they all validate on the same images."""
        if self.info.goal != "depth" or self.trials["block"].isna().all():
            return ""
        return "with the goal depth, the split changes between blocks of trials, so trials validate on different images"

    @cached_property
    def floor(self) -> Floor | NoFloor:
        """The out-of-fold predictions of a linear model on frozen features, or the reason why there are none."""
        return read_floor(self.info.folder)

    @property
    def no_best(self) -> str:
        """The reason why there is no best trial; valid if ``eligible`` is empty."""
        if self.complete.empty:
            return "no trial has completed"
        trials = counted(len(self.complete), "completed trial")
        return f"each of {trials} has a gap above {self.info.max_gap:g} at its best epoch"

    @cached_property
    def configs(self) -> Mapping[int, TrialConfig]:
        """The recorded configurations by the trials' numbers; what cannot be read is named."""
        configs = {}
        for trial in self.location.open().get_trials(deepcopy=False):
            if "config" not in trial.user_attrs:
                continue
            try:
                configs[trial.number] = TrialConfig.model_validate_json(trial.user_attrs["config"])
            except ValueError:
                self.name_damage(
                    f"the configuration of trial {trial.number} of study {self.info.name!r} in {self.info.url} is "
                    "damaged or of another version: the study is read without it"
                )
        return configs

    def config(self, number: int) -> TrialConfig | None:
        """Return the configuration of a trial; None if it is not recorded, or damaged."""
        return self.configs.get(number)

    def predictions(self, number: int, part: Literal["train", "validation"] = "validation") -> Predictions | None:
        """Return the class probabilities of a trial at every epoch; None if they are not stored, or damaged.

        There is no part ``test``: only ``study.results.test_set`` reads test predictions.
        """
        return self.read_part(self.predictions_file(number), part, number)

    def read_part(self, path: Path, part: str, number: int | None = None) -> Predictions | None:
        """Return a part of a file of predictions; None if there is none. If it is damaged, that is named.

        Args:
            path: the file.
            part: the first word of its keys.
            number: of the trial that it belongs to, whose epochs it must hold; None for a file without epochs.
        """
        last = self.trials.loc[self.trials["number"] == number, "last_step"].dropna()
        try:
            return load_predictions(path, part, 0 if last.empty else int(last.iloc[0]))
        except FileNotFoundError:
            return None
        except StudyError as error:
            self.name_damage(f"{error}: the study is read without it")
            return None

    def name_damage(self, line: str) -> None:
        """Add a line to ``damaged``, and print it once."""
        if line not in self.damaged:
            self.damaged.append(line)
        name_damage(line)

    def predictions_file(self, number: int) -> Path:
        """Return the file for the predictions of a trial, whether or not it exists."""
        return self.info.folder / "trials" / f"{number:04d}" / "predictions.npz"

    def checkpoint_file(self, number: int) -> Path:
        """Return the file for the checkpoint of a trial, whether or not it exists."""
        return self.predictions_file(number).with_name(CHECKPOINT)


def read_study(study: str | Path, results: Path | str = Path("results"), storage: str | None = None) -> StudyResults:
    """Read a study; arguments as in :func:`study.results.locate.find_study`.

    Raises:
        StudyError: when there is no such study, or this version of drft-study cannot read it.
    """
    return read_study_at(find_study(study, results, storage))


def read_study_at(location: StudyLocation) -> StudyResults:
    """Read the study at a location; errors as in :func:`read_study`."""
    opened = location.open()
    attributes = opened.user_attrs
    if attributes.get("drft_schema") not in READABLE:
        raise StudyError(
            f"study {location.name!r} in {public_url(location.url)} is not a drft-study of schema {SCHEMA} or older "
            f"(its schema is {attributes.get('drft_schema')!r}): read it with the version that created it"
        )
    trials = opened.get_trials(deepcopy=False)
    damaged: list[str] = []
    info = _read_info(location, attributes, trials, damaged)
    records = {trial.number: _read_epochs(location, trial, damaged) for trial in trials}
    searched = [name for name in info.dimensions if name not in {"depth", "depth_fraction"}]
    columns = ["number", "state", "depth", "depth_fraction", "trainable_fraction", *searched]
    trials_table = pd.DataFrame(
        [_trial_row(trial, records[trial.number], info.metric) for trial in trials],
        columns=[*columns, *OUTCOME_COLUMNS, *FURTHER_COLUMNS],
    )
    epochs_table = pd.DataFrame(
        [
            (number, *(getattr(record, column) for column in EPOCH_COLUMNS[1:]))
            for number, epochs in records.items()
            for record in epochs
        ],
        columns=list(EPOCH_COLUMNS),
    )
    for line in damaged:
        name_damage(line)
    if not info.ordinal:  # each training computes a kappa, which means nothing for classes that are not ordered
        trials_table["val_qwk_best"] = epochs_table["train_qwk"] = epochs_table["val_qwk"] = math.nan
    trials_table = trials_table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))
    return StudyResults(location, info, trials_table, epochs_table, damaged)


def _read_epochs(location: StudyLocation, trial: FrozenTrial, damaged: list[str]) -> list[EpochRecord]:
    try:
        return unpack(trial.user_attrs)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        damaged.append(
            f"the epochs of trial {trial.number} of study {location.name!r} in {public_url(location.url)} are damaged "
            f"({error}): the study is read without them"
        )
        return []


def _decode(location: StudyLocation, attributes: Mapping[str, Any], name: str, damaged: list[str]) -> Any:
    """Return an attribute that is stored as JSON, or, if it is damaged, the copy in ``study.yaml``.

    Raises:
        StudyError: when both are damaged.
    """

    def fits(value: object) -> bool:
        if name == "base_config":
            try:
                TrialConfig.model_validate(value)
            except ValueError:
                return False
        return isinstance(value, list if name == "blocks" else dict) and {*_KEYS.get(name, ())} <= {*map(str, value)}

    where = f"attribute {name!r} of study {location.name!r} in {public_url(location.url)}"
    try:
        value = json.loads(attributes.get(name, "{}"))
        if fits(value):
            return value
    except (ValueError, TypeError):
        pass
    copy = location.folder / "study.yaml"
    try:
        value = yaml.safe_load(copy.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        value = None
    if not fits(value):
        raise StudyError(
            f"{where} is damaged or of another version, and {copy} has no copy of it: restore one of the two from a "
            "backup"
        )
    damaged.append(f"{where} is damaged: its copy in {copy} is used")
    return value


def _read_info(
    location: StudyLocation, attributes: Mapping[str, Any], trials: Sequence[FrozenTrial], damaged: list[str]
) -> StudyInfo:
    started = [trial.datetime_start for trial in trials if trial.datetime_start]
    finished = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    texts = ("metric", "source", "space", "space_fingerprint", "seed", "command", "trials_wanted")
    decoded = ("split", "blocks", "base_config", "versions")
    missing = [name for name in (*texts, "sampler", "pruner", "cohort", *decoded) if name not in attributes]
    if missing:
        raise StudyError(
            f"study {location.name!r} in {public_url(location.url)} is incomplete, it lacks {', '.join(missing)}: "
            "run `drft-study run` again to complete it"
        )
    return StudyInfo(
        name=location.name,
        folder=location.folder,
        url=public_url(location.url),
        dimensions={name: dist for trial in trials for name, dist in trial.distributions.items()},
        started=min(started, default=None),
        finished=max(finished, default=None),
        **{name: attributes[name] for name in texts},
        samplers=_names(trials, "sampler", attributes),
        pruners=_names(trials, "pruner", attributes),
        dataset=_decode(location, attributes, "cohort", damaged),
        **{name: _decode(location, attributes, name, damaged) for name in decoded},
        goal=attributes.get("goal", "best"),
        max_gap=attributes.get("max_gap"),
        source_options=_decode(location, attributes, "source_options", damaged),
        backbones=_decode(location, attributes, "backbones", damaged),
    )


def _names(trials: Sequence[FrozenTrial], kind: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the samplers or pruners of the trials. Trials of older versions do not record theirs: the study does."""
    used = (trial.user_attrs.get(kind, attributes[kind]) for trial in trials if trial.state != TrialState.WAITING)
    return tuple(dict.fromkeys(used)) or (attributes[kind],)


def _trial_row(trial: FrozenTrial, records: list[EpochRecord], metric: Metric) -> dict[str, Any]:
    names = ("depth", "depth_fraction", "trainable_fraction", "seconds", "worker", "retry_of", "fail_reason")
    recorded = {name: trial.user_attrs.get(name) for name in (*names, *FURTHER_COLUMNS)}
    recorded["depth"] = trial.params.get("depth") if recorded["depth"] is None else recorded["depth"]
    # A searched fraction is shown as it was sampled; the recorded one is that of the nearest whole number of blocks.
    recorded["depth_fraction"] = trial.params.get("depth_fraction", recorded["depth_fraction"])
    return {
        **trial.params,
        **recorded,
        "number": trial.number,
        "state": trial.state.name,
        **(_outcome(records, metric) if records else {}),
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
