"""The JSON Schema of a search space's YAML, for editors: names complete, values are checked while one types.

It says what single entries may look like. What it takes several entries to see (conditions that never hold, depths a
backbone does not have) is left to ``drft-study spaces check``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from study.space.backbones import NAME
from study.space.settings import NEVER_FIXED, NEVER_SEARCHED, setting_schemas

Schema = dict[str, Any]

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_ALL: Schema = {"const": "all", "description": "The number of blocks of the backbone."}
_WHEN = (
    "Search it only if dimensions above it have a value, one of several, or lie in a range; all conditions must hold."
)


def space_schema() -> Schema:
    """Return the schema (JSON Schema, draft 2020-12) of a search space."""
    settings = {path: _setting(path, said) for path, said in setting_schemas().items()}
    fixed = {path: said for path, said in settings.items() if path not in NEVER_FIXED}
    searched = {path: said for path, said in settings.items() if path not in NEVER_SEARCHED}
    backbones = _backbones(searched[NAME], settings)
    properties: Schema = {
        "name": {"type": "string", "description": "Name of the space; the file's name otherwise."},
        "question": {"type": "string", "description": "What a study in this space asks."},
        "fixed": {
            **_object(fixed | _nested(fixed)),
            "description": "Settings with one value in all trials, dotted or nested.",
        },
        "search": {
            **_object({**{path: _dimension(said) for path, said in searched.items()}, NAME: backbones}),
            "minProperties": 1,
            "description": "Settings that vary.",
        },
        "isolate": {
            "enum": list(searched),
            "description": "The dimension whose every value gets a sub-study of equal budget and a sampler of its own.",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Search space of drft-study",
        **_object(properties),
        "required": ["search"],
        "$defs": {"when": _when(searched)},
    }


def _setting(path: str, said: Mapping[str, Any]) -> Schema:
    """Return the schema of one value of a setting; ``depth`` takes ``all``, too."""
    if path != "depth":
        return dict(said)
    return {"anyOf": [_value(said), _ALL], "default": said["default"], "description": said["description"]}


def _nested(settings: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the groups of settings, each with its members by their own names."""
    groups: dict[str, dict[str, Schema]] = {}
    for path, said in settings.items():
        group, _, name = path.rpartition(".")
        if group:
            groups.setdefault(group, {})[name] = said
    return {group: _object(members) for group, members in groups.items()}


def _dimension(said: Schema) -> Schema:
    ends = [_ALL] if _ALL in said.get("anyOf", ()) else []
    forms = [_range(kind, number, ends) for number in _numbers(said) for kind in ("float", "int")]
    return {"anyOf": [*forms, _choices(said)], "description": said["description"]}


def _backbones(said: Schema, settings: Mapping[str, Schema]) -> Schema:
    """Return the schema of backbones to choose from: a list of names, or names with what goes with each."""
    brought = {path.rpartition(".")[2]: one for path, one in settings.items() if path.startswith("backbone.")}
    one = {"anyOf": [brought["weights"], _object({key: s for key, s in brought.items() if key != "name"})]}
    named = {"type": "object", "minProperties": 1, "additionalProperties": one}
    listed = _choices(said)["properties"]["choices"]
    choices = {"anyOf": [listed, named], "description": "Timm models; a mapping says weights, or several settings."}
    kind: Schema = {"type": {"const": "categorical"}, "choices": choices}
    return {**_object(kind), "required": ["type", "choices"], "description": said["description"]}


def _numbers(said: Schema) -> Iterator[Schema]:
    """Yield the numbers a setting takes, if any."""
    yield from (one for one in said.get("anyOf", [said]) if one.get("type") in {"integer", "number"})


def _range(kind: str, number: Schema, other_ends: list[Schema]) -> Schema:
    """Return the schema of a range; whole numbers as ``float`` need a step, or there would be others among them."""
    whole = kind == "int" or number["type"] == "integer"
    bounds = {key: number[key] for key in _BOUNDS if key in number}
    end: Schema = {"anyOf": [{"type": "integer" if whole else "number", **bounds}, *other_ends]}
    steps_only = whole and kind == "float"
    return {
        **_object(
            {
                "type": {"const": kind},
                "low": {**end, "description": "Smallest value."},
                "high": {**end, "description": "Largest value."},
                "step": {
                    "type": "integer" if whole else "number",
                    "exclusiveMinimum": 0,
                    "description": "Distance of neighbouring values; high has to be reached.",
                },
                "log": {"type": "boolean", "description": "Search the exponents evenly; starts above 0, has no step."},
                "when": {"$ref": "#/$defs/when"},
            }
        ),
        "required": ["type", "low", "high", *(["step"] if steps_only else [])],
    }


def _choices(said: Schema) -> Schema:
    listed: Schema = {
        "type": "array",
        "items": _value(said),
        "minItems": 1,
        "uniqueItems": True,
        "description": "The values; for ordered numbers a range with a step tells the sampler more.",
    }
    return {
        **_object({"type": {"const": "categorical"}, "choices": listed, "when": {"$ref": "#/$defs/when"}}),
        "required": ["type", "choices"],
    }


def _when(searched: Mapping[str, Schema]) -> Schema:
    return {**_object({path: _condition(path, said) for path, said in searched.items()}), "description": _WHEN}


def _condition(path: str, said: Schema) -> Schema:
    value = _value(said)
    forms: list[Schema] = [value, {"type": "array", "items": value, "minItems": 1}]
    if any(_numbers(said)):
        bound: Schema = {"anyOf": [{"type": "number"}, _ALL]} if path == "depth" else {"type": "number"}
        forms.append({**_object({"min": bound, "max": bound}), "minProperties": 1})
    return {"anyOf": forms}


def _value(said: Mapping[str, Any]) -> Schema:
    """Return the schema of a setting without what belongs to the setting only."""
    return {key: part for key, part in said.items() if key not in {"default", "description"}}


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}
