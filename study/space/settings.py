"""The settings that a space can fix or search, and the values that each of them takes."""

from collections.abc import Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any

from drft.config.trial_config import TrialConfig, config_paths, nearest, with_values
from drft.errors import ConfigError

DEPTH_FRACTION = "depth_fraction"
"""Depth as a share of the backbone's blocks. The only name in a space that is no setting of ``TrialConfig``."""

PATHS = (*config_paths(), DEPTH_FRACTION)

_ONE_BACKBONE = "name it with --backbone and --weights; or search backbone.name"
_OF_BACKBONES = "name the weights of each backbone: search backbone.name with choices: {NAME: WEIGHTS}"
_ONE_METRIC = "a study has one metric; name it with --metric"
_OWN_SEED = "each trial's seed follows from the study's; use --seed"
_ONE_SPLIT = "trials that are compared share one split; fix it instead"

NEVER_FIXED: Mapping[str, str] = MappingProxyType(
    {
        "seed": _OWN_SEED,
        "metric": _ONE_METRIC,
        "backbone.name": _ONE_BACKBONE,
        "backbone.weights": _ONE_BACKBONE,
    }
)
"""Settings that a space cannot set, since something else sets them, and what to do instead."""

NEVER_SEARCHED: Mapping[str, str] = MappingProxyType(
    {
        **{path: why for path, why in NEVER_FIXED.items() if path != "backbone.name"},
        "backbone.weights": _OF_BACKBONES,
        "split.seed": _ONE_SPLIT,
        "split.validation_fraction": _ONE_SPLIT,
        "split.folds": _ONE_SPLIT,
        "split.fold": _ONE_SPLIT,
        "augmentation.seed": "trials that see different views cannot be compared; fix it instead",
    }
)
"""Settings that a space cannot search, since trials would not be comparable, and what to do instead."""

_OTHER_NAMES = {"learning_rate": "lr", "epoch": "epochs", "wd": "weight_decay", "augment": "strength"}
"""Usual names of settings in other programs, and theirs here."""

_FRACTION: Mapping[str, Any] = MappingProxyType(
    {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": None,
        "description": "``depth`` as a share of the backbone's blocks, rounded to the nearest whole number of them: 1 "
        "trains all blocks of any backbone. In a space only, and instead of ``depth``.",
    }
)


def setting_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of every setting by path: type, bounds, default and a ``description`` on one line."""
    whole = TrialConfig.model_json_schema()
    schemas: dict[str, dict[str, Any]] = {}
    for path in config_paths():
        *groups, leaf = path.split(".")
        part = whole
        for group in groups:
            part = whole["$defs"][part["properties"][group]["$ref"].rpartition("/")[2]]
        schema = {key: value for key, value in part["properties"][leaf].items() if key != "title"}
        schemas[path] = schema | {"description": " ".join(schema["description"].split())}
    return schemas | {DEPTH_FRACTION: dict(_FRACTION)}


def get_setting(config: TrialConfig, path: str) -> Any:
    """Return the value of a setting."""
    return reduce(getattr, path.split("."), config)


def unknown_setting(path: str) -> str | None:
    """Return what is wrong with a path that is no setting, or None if it is one."""
    if path in PATHS:
        return None
    group = [known for known in PATHS if known.startswith(f"{path}.")]
    if group:
        return f"{path} is a group of settings; name one of them: {', '.join(group)}"
    if len(meant := settings_named(path)) > 1:
        return f"unknown setting {path!r} (did you mean {' or '.join(map(repr, meant))}?)"
    return f"unknown setting {path!r}{nearest(path, list(PATHS)) or '; `drft-study spaces schema` prints all settings'}"


def settings_named(word: str) -> list[str]:
    """Return the settings that end in a word, such as every learning rate for ``lr`` or ``learning-rate``."""
    leaf = word.replace("-", "_").rpartition(".")[2]
    leaf = _OTHER_NAMES.get(leaf, leaf)
    return [path for path in PATHS if f".{path}".endswith((f".{leaf}", f".{leaf}.name")) and path not in NEVER_FIXED]


def check_value(path: str, value: Any) -> tuple[Any, str | None]:
    """Return the value converted to the setting's type and None, or the unchanged value and what is wrong with it.

    ``Space.bind`` checks later whether the value contradicts other settings.
    """
    if path == DEPTH_FRACTION:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        return (float(value), None) if is_number else (value, f"should be a number from 0 to 1, got {value!r}")
    try:
        config = with_values(TrialConfig(), {path: value})
    except ConfigError as error:
        if not error.faults[0].startswith(f"{path}: "):  # a contradiction with the default of another setting
            return value, None
        return value, error.faults[0].removeprefix(f"{path}: ").removeprefix("value error, ")
    return get_setting(config, path), None
