"""The JSON Schema of a search space's YAML, with which editors complete names and check values.

It describes single entries. Faults that only several entries show (conditions that never hold, depths that a backbone
does not have) are found by ``drft-study spaces check``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from study.space.backbones import NAME
from study.space.settings import NEVER_FIXED, NEVER_SEARCHED, setting_schemas

Schema = dict[str, Any]

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_ALL: Schema = {"const": "all", "description": "The number of blocks of the backbone."}
_WHEN = (
    "Search it only if dimensions above it have a value, have one of several values, or are in a range. "
    "All conditions must hold."
)


def space_schema() -> Schema:
    """Return the schema (JSON Schema, draft 2020-12) of a search space."""
    settings = setting_schemas()
    depth = settings["depth"]
    settings["depth"] = {
        "anyOf": [_value(depth), _ALL],
        "default": depth["default"],
        "description": depth["description"],
    }
    fixed = {path: setting for path, setting in settings.items() if path not in NEVER_FIXED}
    searched = {path: setting for path, setting in settings.items() if path not in NEVER_SEARCHED}
    dimensions = {path: _dimension(setting) for path, setting in searched.items()}
    dimensions[NAME] = _backbones(settings)
    conditions = {path: _condition(path, setting) for path, setting in searched.items()}
    properties: Schema = {
        "name": {"type": "string", "description": "Name of the space; the file's name by default."},
        "question": {"type": "string", "description": "The question that a study in this space answers."},
        "fixed": {
            **_object(fixed | _nested(fixed)),
            "description": "Settings with one value in all trials, dotted or nested.",
        },
        "search": {
            **_object(dimensions),
            "minProperties": 1,
            "description": "Settings that vary.",
        },
        "isolate": {
            "enum": list(searched),
            "description": "The dimension whose values each get a sub-study of equal budget, with its own sampler.",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Search space of drft-study",
        **_object(properties),
        "required": ["search"],
        "$defs": {"when": {**_object(conditions), "description": _WHEN}},
    }


def _nested(settings: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the groups of settings, each with its members by their short names."""
    groups: dict[str, dict[str, Schema]] = {}
    for path, setting in settings.items():
        group, _, name = path.rpartition(".")
        if group:
            groups.setdefault(group, {})[name] = setting
    return {group: _object(members) for group, members in groups.items()}


def _dimension(setting: Schema) -> Schema:
    """Return the schema of a dimension that varies a setting: ranges if the setting takes numbers, or choices."""
    ends = [_ALL] if _ALL in setting.get("anyOf", ()) else []
    forms = [_range(kind, number, ends) for number in _numbers(setting) for kind in ("float", "int")]
    return {"anyOf": [*forms, _choices(setting)], "description": setting["description"]}


def _backbones(settings: Mapping[str, Schema]) -> Schema:
    """Return the schema of the dimension ``backbone.name``: a list of names, or names with weights or settings."""
    own = {path.removeprefix("backbone."): value for path, value in settings.items() if path.startswith("backbone.")}
    weights_or_settings = {"anyOf": [own["weights"], _object({key: own[key] for key in own if key != "name"})]}
    mapping = {"type": "object", "minProperties": 1, "additionalProperties": weights_or_settings}
    names = _choices(settings[NAME])["properties"]["choices"]
    choices = {"anyOf": [names, mapping], "description": "Timm models; a mapping gives their weights or settings."}
    properties: Schema = {"type": {"const": "categorical"}, "choices": choices}
    return {
        **_object(properties),
        "required": ["type", "choices"],
        "description": settings[NAME]["description"],
    }


def _numbers(setting: Schema) -> Iterator[Schema]:
    """Yield the schemas of the numbers that a setting takes, if any."""
    options = setting.get("anyOf", [setting])
    yield from (option for option in options if option.get("type") in {"integer", "number"})


def _range(kind: str, number: Schema, other_ends: list[Schema]) -> Schema:
    """Return the schema of a range of type ``kind``.

    A ``float`` range of a setting that takes integers needs a step, since it would contain other numbers without one.
    """
    whole = kind == "int" or number["type"] == "integer"
    bounds = {key: number[key] for key in _BOUNDS if key in number}
    end: Schema = {"anyOf": [{"type": "integer" if whole else "number", **bounds}, *other_ends]}
    properties = {
        "type": {"const": kind},
        "low": {**end, "description": "Smallest value."},
        "high": {**end, "description": "Largest value."},
        "step": {
            "type": "integer" if whole else "number",
            "exclusiveMinimum": 0,
            "description": "Difference of neighboring values; high must be one of the values.",
        },
        "log": {
            "type": "boolean",
            "description": "Search on a logarithmic scale; the range starts above 0 and has no step.",
        },
        "when": {"$ref": "#/$defs/when"},
    }
    needs_step = whole and kind == "float"
    return {**_object(properties), "required": ["type", "low", "high", *(["step"] if needs_step else [])]}


def _choices(setting: Schema) -> Schema:
    """Return the schema of a categorical dimension."""
    choices: Schema = {
        "type": "array",
        "items": _value(setting),
        "minItems": 1,
        "uniqueItems": True,
        "description": "The values. Samplers learn more from a range with a step if the values are ordered numbers.",
    }
    properties: Schema = {"type": {"const": "categorical"}, "choices": choices, "when": {"$ref": "#/$defs/when"}}
    return {**_object(properties), "required": ["type", "choices"]}


def _condition(path: str, setting: Schema) -> Schema:
    """Return the schema of a condition on a setting: one value, several, or for numbers a range."""
    value = _value(setting)
    forms: list[Schema] = [value, {"type": "array", "items": value, "minItems": 1}]
    if any(_numbers(setting)):
        bound: Schema = {"anyOf": [{"type": "number"}, _ALL]} if path == "depth" else {"type": "number"}
        forms.append({**_object({"min": bound, "max": bound}), "minProperties": 1})
    return {"anyOf": forms}


def _value(setting: Mapping[str, Any]) -> Schema:
    """Return the schema of a setting's value, without default and description."""
    return {key: part for key, part in setting.items() if key not in {"default", "description"}}


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}
