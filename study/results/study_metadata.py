"""The metadata of a study: what is recorded as its user attributes and must not change between two runs."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage

from drft.config.trial_config import Metric, TrialConfig, config_paths
from drft.errors import StudyError
from study.results.metric_names import metric_name

SCHEMA = 2
"""Version of the user attributes of studies and trials: 2 stores a trial's epochs in one attribute."""

READABLE = (1, SCHEMA)
"""Versions that can be read and resumed."""


@dataclass(frozen=True, slots=True)
class StudyMetadata:
    """Everything that is recorded of a study besides its trials."""

    name: str
    space: str
    """The search space as written (YAML)."""
    space_fingerprint: str
    source: str
    """Data source, as ``drft.data.open_dataset`` takes it."""
    dataset: Mapping[str, Any]
    split: Mapping[str, Any]
    blocks: Sequence[Mapping[str, Any]]
    """The backbone's blocks, stem first, with the trainable fraction at the depth that reaches each."""
    base_config: TrialConfig
    """The configuration that trials share; the values of the search space replace parts of it."""
    seed: int
    sampler: str
    """Of the run that created the study; each trial records its own, and so it is with the pruner."""
    pruner: str
    command: str
    """Of the last run that started trials."""
    versions: Mapping[str, str]
    trials_wanted: int
    source_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the data source, likewise."""
    backbones: Mapping[str, int] = field(default_factory=dict)
    """Number of blocks by backbone name, if several backbones are searched; ``blocks`` are those of the first."""
    goal: Literal["depth", "best"] = "best"
    """What the trainings are spent on, see ``study.samplers.names.Goal``."""
    max_gap: float | None = None
    """The largest gap of a feasible trial at its best epoch; None for no limit."""
    trainer: str = ""
    """The training function, as ``module:function``; empty for that of this program."""

    @property
    def metric(self) -> Metric:
        """The validation score that is maximized."""
        return self.base_config.metric

    def attributes(self) -> dict[str, Any]:
        """Return the study's user attributes; values other than numbers and texts are JSON."""
        return {
            "drft_schema": SCHEMA,
            "space": self.space,
            "space_fingerprint": self.space_fingerprint,
            "source": self.source,
            "source_options": json.dumps(self.source_options),
            "cohort": json.dumps(self.dataset),
            "split": json.dumps(self.split),
            "blocks": json.dumps(self.blocks),
            "backbones": json.dumps(self.backbones),
            "base_config": self.base_config.model_dump_json(),
            "metric": self.metric,
            "seed": self.seed,
            "sampler": self.sampler,
            "pruner": self.pruner,
            "command": self.command,
            "versions": json.dumps(self.versions),
            "goal": self.goal,
            **({} if self.max_gap is None else {"max_gap": self.max_gap}),
            **({"trainer": self.trainer} if self.trainer else {}),
            # Last: a study without it was interrupted while its attributes were written, and check_study lets it pass.
            "trials_wanted": self.trials_wanted,
        }

    def overview(self) -> dict[str, Any]:
        """Return the contents of ``study.yaml``: all attributes but the search space, with JSON values decoded."""
        attributes = self.attributes()
        del attributes["space"]
        encoded = ("source_options", "cohort", "split", "blocks", "backbones", "base_config", "versions")
        return {"name": self.name, **attributes, **{name: json.loads(attributes[name]) for name in encoded}}

    def conflicts(self, recorded: Mapping[str, Any], changed: Callable[[], str] = lambda: "") -> list[str]:
        """Return the differences from a recorded study that make trials of the two incomparable.

        Args:
            recorded: the study's user attributes.
            changed: returns how the images differ from those of the study, as far as it is known.
        """
        conflicts = []
        if recorded["space_fingerprint"] != self.space_fingerprint:
            conflicts.append("another search space")
        conflicts += self._data_conflicts(recorded, changed)
        other_seed = recorded["seed"] != self.seed
        if other_seed:
            conflicts.append(f"another seed ({recorded['seed']} there, {self.seed} here)")
        goal = recorded.get("goal", "best")  # version 0.1 has no goals
        if goal != self.goal:
            conflicts.append(f"another goal ({goal} there, {self.goal} here)")
        if recorded.get("max_gap") != self.max_gap:
            before, now = ("none" if gap is None else f"{gap:g}" for gap in (recorded.get("max_gap"), self.max_gap))
            conflicts.append(f"another max-gap ({before} there, {now} here)")
        if (trainer := recorded.get("trainer", "")) != self.trainer:
            before, now = (name or "the program's own" for name in (trainer, self.trainer))
            conflicts.append(f"another training function ({before} there, {now} here)")
        config = TrialConfig.model_validate_json(recorded["base_config"])
        for path in config_paths():
            before, now = attrgetter(path)(config), attrgetter(path)(self.base_config)
            if before != now and not (other_seed and path in _FOLLOW_SEED):
                conflicts.append(f"another {path} ({before} there, {now} here)")
        return conflicts

    def _data_conflicts(self, recorded: Mapping[str, Any], changed: Callable[[], str]) -> list[str]:
        """Return how the data differ from those of a recorded study."""
        dataset = json.loads(recorded["cohort"])
        before, now = describe_test_part(dataset), describe_test_part(self.dataset)
        if before != now:
            return [f"another --test-fraction ({before} there, {now} here)"]
        if dataset["fingerprint"] == self.dataset["fingerprint"]:
            # Older versions do not record the grouping: None matches every grouping.
            several = len({dataset.get("grouping"), self.dataset.get("grouping")} - {None}) > 1
            before, now = describe_classes(dataset), describe_classes(self.dataset)
            if before != now and "grades" in dataset:
                return [f"other classes ({before} there, {now} here)"]
            return ["other groups of images (see --group-column and --group-lookalikes)"] if several else []
        before = _source_and_corrections(recorded["source"], dataset)
        now = _source_and_corrections(self.source, self.dataset)
        if before != now:
            return [f"other data ({before} there, {now} here)"]
        if self.dataset.get("rendered"):
            return [f"other images of {now}, rendered by another version"]
        return [f"other images or labels in {now}: {changed() or _difference(dataset, self.dataset)}"]


_FOLLOW_SEED = {"seed", "split.seed", "augmentation.seed"}
"""Set from the study's seed where nothing else sets them: a difference in the seed is reported once, not four times."""


def check_study(metadata: StudyMetadata, storage: BaseStorage, changed: Callable[[], str] = lambda: "") -> None:
    """Refuse to resume a study whose metadata differ; a study that does not exist yet passes.

    Args:
        metadata: of the run.
        storage: holds the study.
        changed: returns how the images differ from those of the study, as far as it is known.

    Raises:
        StudyError: naming the differences.
    """
    try:
        study_id = storage.get_study_id_from_name(metadata.name)
    except KeyError:
        return
    recorded = storage.get_study_user_attrs(study_id)
    incomplete = "trials_wanted" not in recorded and not storage.get_all_trials(study_id, deepcopy=False)
    if incomplete and "drft_schema" in (recorded or {"drft_schema"}):
        return  # a tuner was killed while it wrote the attributes; they are written again
    check_schema(metadata.name, recorded)
    try:
        conflicts = metadata.conflicts(recorded, changed)
    except (ValueError, TypeError, KeyError):
        raise StudyError(
            f"study {metadata.name!r} exists, and its attributes are damaged: restore its storage from a backup, or "
            "choose another name with --study"
        ) from None
    if conflicts:
        raise StudyError(
            f"study {metadata.name!r} exists with {'; '.join(conflicts)}: choose another name with --study, "
            "or resume it with the options it was created with"
        )


def open_study(metadata: StudyMetadata, storage: BaseStorage) -> int:
    """Return the storage's id of the study; create the study if it does not exist.

    Raises:
        StudyError: when a study of that name has other metadata.
    """
    check_study(metadata, storage)
    optuna.create_study(study_name=metadata.name, storage=storage, direction="maximize", load_if_exists=True)
    return storage.get_study_id_from_name(metadata.name)


def record_metadata(metadata: StudyMetadata, study: optuna.Study) -> StudyMetadata:
    """Write the attributes that are missing or differ, and name the study's value for the axes of the dashboard.

    Returns:
        What is recorded now: sampler and pruner stay those of the first run, since older trials do not record theirs.
    """
    recorded = study.user_attrs
    first = {name: recorded[name] for name in ("sampler", "pruner") if name in recorded}
    metadata = replace(metadata, **first)
    for name, value in metadata.attributes().items():
        if recorded.get(name) != value:
            study.set_user_attr(name, value)
    names = [f"validation {metric_name(metadata.metric)}{', negated' if metadata.metric == 'nll' else ''}"]
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)
    return metadata


def check_schema(name: str, attributes: Mapping[str, Any]) -> None:
    """Refuse a study that this version of drft-study cannot read.

    Raises:
        StudyError: when it was created by another program or by a newer version.
    """
    schema = attributes.get("drft_schema")
    if schema is None:
        raise StudyError(f"study {name!r} was not created by drft-study: choose another name with --study")
    if schema not in READABLE:
        raise StudyError(
            f"study {name!r} has schema {schema}, and this drft-study reads {SCHEMA} and older: "
            "use the version that created it"
        )


def describe_split(split: Mapping[str, Any], single_split: str) -> str:
    """Return the split of a study's training images as text.

    Args:
        split: the study's split.
        single_split: the text for one split; a split into folds has the same text everywhere.
    """
    if "folds" not in split:
        return single_split
    return f"{split['n_validation']} images in {split['folds']} folds, each validating once"


def describe_classes(dataset: Mapping[str, Any]) -> str:
    """Return the classes of a data set as text; those of a study of version 0.1 are ordered."""
    return f"{', '.join(dataset.get('grades', ()))}, {'ordered' if dataset.get('ordinal', True) else 'not ordered'}"


def describe_test_part(dataset: Mapping[str, Any]) -> str:
    """Return the test part that a study holds out of its data set as text."""
    part = dataset.get("test_part")
    return "none" if part is None else f"{part['fraction']:g}, seed {part['seed']}"


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return how two data sets of the same source differ, as far as a study records it."""
    differences = []
    for part in ("train", "test"):
        there, here = (", ".join(map(str, dataset.get(f"counts_{part}", ()))) for dataset in (before, now))
        if there != here:
            differences.append(f"{part} images by class {there} there, {here} here")
    return "; ".join(differences) or "as many images of each class, but not the same files and labels"


def _source_and_corrections(source: str, dataset: Mapping[str, Any]) -> str:
    """Return the name of a data source with the files that correct its labels."""
    files = (f"--{file['kind']} {file['file']} {file['digest'][:8]}" for file in dataset.get("corrections", ()))
    return " ".join([source, *files])
