"""Which settings a space may name, and what values each of them takes."""

from collections.abc import Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any

from drft.config import TrialConfig, config_paths, nearest, with_values
from drft.errors import ConfigError

PATHS = tuple(config_paths())

_ONE_BACKBONE = "a study has one backbone; name it with --backbone and --weights"
_ONE_METRIC = "a study has one metric; name it with --metric"
_OWN_SEED = "each trial's seed follows from the study's; use --seed"
_ONE_SPLIT = "all trials of a study share one split; fix it instead"

NEVER_FIXED: Mapping[str, str] = MappingProxyType(
    {
        "seed": _OWN_SEED,
        "metric": _ONE_METRIC,
        "backbone.name": _ONE_BACKBONE,
        "backbone.weights": _ONE_BACKBONE,
    }
)
"""Settings a space may not set at all, since something else does; and what to do instead."""

NEVER_SEARCHED: Mapping[str, str] = MappingProxyType(
    {
        **NEVER_FIXED,
        "split.seed": _ONE_SPLIT,
        "split.validation_fraction": _ONE_SPLIT,
        "split.folds": _ONE_SPLIT,
        "split.fold": _ONE_SPLIT,
        "augmentation.seed": "trials that see different views cannot be compared; fix it instead",
    }
)
"""Settings that would make the trials of a study incomparable; and what to do instead."""


def setting_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of every setting, by path: type, bounds, default and ``description``, on one line."""
    whole = TrialConfig.model_json_schema()
    return {path: _described(whole, path) for path in PATHS}


def _described(whole: Mapping[str, Any], path: str) -> dict[str, Any]:
    *groups, leaf = path.split(".")
    part = whole
    for group in groups:
        part = whole["$defs"][part["properties"][group]["$ref"].rpartition("/")[2]]
    found = {key: value for key, value in part["properties"][leaf].items() if key != "title"}
    return found | {"description": " ".join(found["description"].split())}


def unknown(path: str) -> str | None:
    """Say what is wrong with a path that is no setting, or return None."""
    if path in PATHS:
        return None
    inside = [known for known in PATHS if known.startswith(f"{path}.")]
    if inside:
        return f"{path} is a group of settings; name one of them: {', '.join(inside)}"
    return f"unknown setting {path!r}{nearest(path, list(PATHS)) or '; see drft/config.py for all settings'}"


def checked(path: str, value: Any) -> tuple[Any, str | None]:
    """Return ``value`` as the setting reads it and None, or the value and what is wrong with it.

    Whether it goes together with other settings is not asked: ``Space.bind`` knows them all.
    """
    try:
        config = with_values(TrialConfig(), {path: value})
    except ConfigError as error:
        if not error.faults[0].startswith(f"{path}: "):
            return value, None
        return value, error.faults[0].removeprefix(f"{path}: ").removeprefix("value error, ")
    return reduce(getattr, path.split("."), config), None
