"""Differences between studies: data, backbone and settings, search, and versions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from drft.config.trial_config import TrialConfig, config_paths
from study.results.study_metadata import describe_split
from study.results.study_results import StudyInfo
from study.space.settings import DEPTH_FRACTION


class SettingDifference(NamedTuple):
    """A setting that differs between studies."""

    what: str
    said: tuple[str, ...]
    """Its value in each study, in the order of the studies."""


def changes(studies: Sequence[StudyInfo]) -> tuple[SettingDifference, ...]:
    """Return the recorded settings that differ: data, training, search and versions, in that order."""
    recorded = [dict(_recorded(study)) for study in studies]
    names = dict.fromkeys(name for settings in recorded for name in settings)
    rows = (SettingDifference(name, tuple(settings.get(name, "none") for settings in recorded)) for name in names)
    return tuple(row for row in rows if len(set(row.said)) > 1)


def _recorded(study: StudyInfo) -> Iterator[tuple[str, str]]:
    split, dataset = study.split, study.dataset
    yield "data", f"{study.source}, {dataset['n']} images"
    yield "data fingerprint", str(dataset["fingerprint"])[:16]
    yield "images by class, training", ", ".join(map(str, dataset["counts_train"]))
    yield "images by class, test", ", ".join(map(str, dataset["counts_test"]))
    parts = describe_split(split, f"{split['n_train']} train, {split['n_validation']} validation")
    yield "images", f"{parts}, {split['n_test']} test"
    yield "blocks", ", ".join(map(str, study.backbones.values())) or str(len(study.blocks))
    yield from _settings(study)
    yield "goal", study.goal
    yield "trials", str(study.trials_wanted)
    yield "largest gap of the best trial", "no limit" if study.max_gap is None else f"{study.max_gap:g}"
    yield "metric", study.metric
    yield "sampler", " and ".join(study.samplers)
    yield "pruner", " and ".join(study.pruners)
    yield "study seed", str(study.seed)
    for name, version in study.versions.items():
        yield f"version of {name}", version


def _settings(study: StudyInfo) -> Iterator[tuple[str, str]]:
    """Yield each setting of a training: the searched range, or the fixed value."""
    base = TrialConfig.model_validate(study.base_config).model_dump()
    yield from ((path, _searched(domain)) for path, domain in study.dimensions.items() if path not in config_paths())
    for path in config_paths():
        searched = study.dimensions.get(path)
        if path == "seed" or (path == "depth" and DEPTH_FRACTION in study.dimensions):
            continue  # each trial has its own
        yield path, _fixed(base, path) if searched is None else _searched(searched)


def _fixed(base: Mapping[str, Any], path: str) -> str:
    value: Any = base
    for name in path.split("."):
        value = value[name]
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _searched(domain: BaseDistribution) -> str:
    match domain:
        case CategoricalDistribution():
            return f"one of {', '.join(json.dumps(choice).strip(chr(34)) for choice in domain.choices)}"
        case IntDistribution() | FloatDistribution():
            return f"{domain.low:g} to {domain.high:g}{' (log)' if domain.log else ''}"
    return str(domain)
