"""The JSON Schema of ``summary.json``, read off the tuples that the statistics are.

``python -m study.report.schema`` prints it; ``docs/summary.schema.json`` is its output.
"""

import ast
import dataclasses
import inspect
import json
import textwrap
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from study.analysis import DepthRow, Statistics, Withheld
from study.report.json_csv import SCHEMA
from study.report.tables import STATES

_PLAIN: Mapping[type, dict[str, Any]] = types.MappingProxyType(
    {
        int: {"type": "integer"},
        float: {"type": ["number", "null"]},  # what is no number is null in JSON
        str: {"type": "string"},
        bool: {"type": "boolean"},
        type(None): {"type": "null"},
    }
)


Shared = dict[str, dict[str, Any]]
"""Schemas that several places refer to, by name."""


def summary_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema, draft 2020-12)."""
    shared: Shared = {}
    statistics = {field.name: hint for field, hint in _fields(Statistics) if field.name not in {"history", "depths"}}
    properties = {
        "schema": {"const": SCHEMA},
        "study": {"description": "What the study is about, as the run wrote it down.", "type": "object"},
        "data": {"description": "Source, data set and split.", "type": "object"},
        "trials": _object(dict.fromkeys(STATES, _PLAIN[int])),
        "best": {"description": "Row of the best completed trial, or null.", "type": ["object", "null"]},
        "by_depth": {"anyOf": [{"type": "array", "items": _of(DepthRow, shared)}, _of(Withheld, shared)]},
        "statistics": _object({name: _of(hint, shared) for name, hint in statistics.items()}),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "summary.json of a drft-study report",
        "description": "Everything but the rows of the trials, which trials.csv and epochs.csv hold.",
        **_object(properties),
        "$defs": dict(sorted(shared.items())),
    }


def _fields(table: type) -> list[tuple[Any, Any]]:
    hints = get_type_hints(table)
    return [(field, hints[field.name]) for field in dataclasses.fields(table)]


def _object(properties: Mapping[str, Any], description: str = "") -> dict[str, Any]:
    told = {"description": description} if description else {}
    return {**told, "type": "object", "properties": dict(properties), "required": list(properties)}


def _of(hint: Any, shared: Shared) -> dict[str, Any]:
    """Return the schema of what ``exports.plain`` makes of a value of this type; named tuples go into ``shared``."""
    kind, parts = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if kind is Literal:
        return {"enum": list(parts)}
    if kind in {types.UnionType, Union}:
        return {"anyOf": [_of(one, shared) for one in parts]}
    if kind is tuple:
        return {"type": "array", **_items(parts, shared)}
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return {"type": "object", "additionalProperties": _of(parts[1], shared)}
    return _named(hint, shared)


def _items(parts: tuple[Any, ...], shared: Shared) -> dict[str, Any]:
    if len(parts) == 2 and parts[1] is ...:
        return {"items": _of(parts[0], shared)}
    return {"prefixItems": [_of(part, shared) for part in parts]}


def _named(table: Any, shared: Shared) -> dict[str, Any]:
    """Describe a named tuple by its fields and what is written beneath them."""
    if table is Withheld:
        shared["Withheld"] = _object({"withheld": _PLAIN[str]}, "A statistic that would be invalid, and why.")
    elif table.__name__ not in shared:
        words = _words_beneath(table)
        told = {name: {"description": words[name]} if name in words else {} for name in get_type_hints(table)}
        fields = {name: {**_of(hint, shared), **told[name]} for name, hint in get_type_hints(table).items()}
        shared[table.__name__] = _object(fields, inspect.getdoc(table) or "")
    return {"$ref": f"#/$defs/{table.__name__}"}


@cache
def _words_beneath(table: type) -> dict[str, str]:
    """Return the text beneath each field of a class; it is in the source alone."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, beneath in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(beneath, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(beneath.value)).split())
    return found


if __name__ == "__main__":
    print(json.dumps(summary_schema(), indent=2))
