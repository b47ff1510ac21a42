"""What is fixed for a whole study, as the study itself records it, and what may not change between two runs."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages import BaseStorage

from drft.config.trial_config import Metric, TrialConfig, config_paths
from drft.errors import StudyError
from study.results.metric_names import metric_name

SCHEMA = 2
"""Version of the attributes that studies and trials carry: 2 keeps a trial's epochs in one attribute."""

READABLE = (1, SCHEMA)
"""Versions that can be read, and gone on with."""


@dataclass(frozen=True, slots=True)
class StudyMetadata:
    """Everything a study is about, besides its trials."""

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
    """What trials have in common; the space lays its values over it."""
    seed: int
    sampler: str
    pruner: str
    command: str
    versions: Mapping[str, str]
    trials_wanted: int
    source_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the data source, likewise."""
    backbones: Mapping[str, int] = field(default_factory=dict)
    """Blocks of each backbone by its name, where several are searched; ``blocks`` are those of the first."""
    max_gap: float | None = None
    """The gap that a feasible trial has at most at its best step; None for no limit."""

    @property
    def metric(self) -> Metric:
        """The validation score that is maximized."""
        return self.base_config.metric

    def attributes(self) -> dict[str, Any]:
        """Return the study's user attributes; whatever is no number or text is JSON."""
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
            **({} if self.max_gap is None else {"max_gap": self.max_gap}),
            "trials_wanted": self.trials_wanted,
        }

    def overview(self) -> dict[str, Any]:
        """Return what ``study.yaml`` says: everything but the text of the space, in plain lists and mappings."""
        told = {name: value for name, value in self.attributes().items() if name != "space"}
        decoded = {name: json.loads(told[name]) for name in _DECODED}
        return {"name": self.name, **told, **decoded}

    def conflicts(self, recorded: Mapping[str, Any]) -> list[str]:
        """Return what differs from a recorded study so much that their trials cannot be compared."""
        found = []
        if recorded["space_fingerprint"] != self.space_fingerprint:
            found.append("another search space")
        there = json.loads(recorded["cohort"])
        if there["fingerprint"] != self.dataset["fingerprint"]:
            before, now = _about_data(recorded["source"], there), _about_data(self.source, self.dataset)
            found.append(f"other data ({before} there, {now} here)")
        elif len({there.get("grouping"), self.dataset.get("grouping")} - {None}) > 1:  # older versions do not say
            found.append("other groups of images (see --group-column and --group-lookalikes)")
        if recorded["seed"] != self.seed:
            found.append(f"another seed ({recorded['seed']} there, {self.seed} here)")
        if recorded.get("max_gap") != self.max_gap:
            found.append(f"another max-gap ({_or_none(recorded.get('max_gap'))} there, {_or_none(self.max_gap)} here)")
        config = TrialConfig.model_validate_json(recorded["base_config"])
        return found + [
            f"another {path} ({_at(config, path)} there, {_at(self.base_config, path)} here)"
            for path in config_paths()
            if _at(config, path) != _at(self.base_config, path) and path not in _FOLLOW_SEED
        ]


_DECODED = ("source_options", "cohort", "split", "blocks", "backbones", "base_config", "versions")

_FOLLOW_SEED = {"seed", "split.seed", "augmentation.seed"}
"""Set from the study's seed; naming that one difference is enough."""


def check_study(metadata: StudyMetadata, storage: BaseStorage) -> None:
    """Refuse to go on with a study that is not the one of ``metadata``; one that does not exist yet is fine.

    Raises:
        StudyError: saying what differs.
    """
    try:
        study_id = storage.get_study_id_from_name(metadata.name)
    except KeyError:
        return
    recorded = storage.get_study_user_attrs(study_id)
    unborn = "trials_wanted" not in recorded and not storage.get_all_trials(study_id, deepcopy=False)
    if unborn and "drft_schema" in (recorded or {"drft_schema"}):
        return  # a driver died while it wrote the attributes; they are written anew
    check_schema(metadata.name, recorded)
    conflicts = metadata.conflicts(recorded)
    if conflicts:
        raise StudyError(
            f"study {metadata.name!r} exists with {'; '.join(conflicts)}: choose another name with --study, "
            "or run it with what it began with"
        )


def open_study(metadata: StudyMetadata, storage: BaseStorage) -> int:
    """Return the storage's number of the study, which is made where there is none.

    Raises:
        StudyError: when a study of that name exists that is not this one.
    """
    check_study(metadata, storage)
    optuna.create_study(study_name=metadata.name, storage=storage, direction="maximize", load_if_exists=True)
    return storage.get_study_id_from_name(metadata.name)


def record_metadata(metadata: StudyMetadata, study: optuna.Study) -> None:
    """Write what is not written yet, or otherwise; the dashboard's axes have the name of the score."""
    recorded = study.user_attrs
    for name, value in metadata.attributes().items():
        if recorded.get(name) != value:
            study.set_user_attr(name, value)
    names = [f"validation {metric_name(metadata.metric)}{', negated' if metadata.metric == 'nll' else ''}"]
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)


def check_schema(name: str, attributes: Mapping[str, Any]) -> None:
    """Refuse a study that this version of drft-study did not write.

    Raises:
        StudyError: when it is of another program or another version.
    """
    schema = attributes.get("drft_schema")
    if schema is None:
        raise StudyError(f"study {name!r} is of another program than drft-study: choose another name with --study")
    if schema not in READABLE:
        raise StudyError(
            f"study {name!r} has schema {schema}, and this drft-study reads {SCHEMA} and older: "
            "use the version that made it"
        )


def _about_data(source: str, dataset: Mapping[str, Any]) -> str:
    """Name a data source and what corrected it."""
    files = (f"--{one['kind']} {one['file']} {one['digest'][:8]}" for one in dataset.get("corrections", ()))
    return " ".join([source, *files])


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _at(config: TrialConfig, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return value
