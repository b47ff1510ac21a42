"""The JSON Schema of ``summary.json``, derived from the named tuples of the statistics.

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
from study.analysis.verdict import Promise, Verdict
from study.report.json_csv import SCHEMA
from study.report.tables import STATES

_PLAIN: Mapping[type, dict[str, Any]] = types.MappingProxyType(
    {
        int: {"type": "integer"},
        float: {"type": ["number", "null"]},  # NaN and infinity are null in JSON
        str: {"type": "string"},
        bool: {"type": "boolean"},
        type(None): {"type": "null"},
    }
)


Shared = dict[str, dict[str, Any]]
"""Schemas of named tuples, by name; other schemas refer to them."""


def summary_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema, draft 2020-12)."""
    shared: Shared = {}
    hints = get_type_hints(Statistics)
    statistics = {
        field.name: _schema(hints[field.name], shared)
        for field in dataclasses.fields(Statistics)
        if field.name not in {"history", "depths", "verdict", "floor"}
    }
    properties = {
        "schema": {"const": SCHEMA},
        "study": {"description": "Metadata of the study, as the run recorded it.", "type": "object"},
        "data": {"description": "Source, data set and split; which studies opened the test images.", "type": "object"},
        "trials": _object(dict.fromkeys(STATES, _PLAIN[int])),
        "best": {"description": "Row of the best completed trial, or null.", "type": ["object", "null"]},
        "verdict": {"anyOf": [_schema(Verdict, shared), _schema(Withheld, shared)]},
        "promise": {"anyOf": [_schema(Promise, shared), _schema(Withheld, shared)]},
        "floor": _schema(hints["floor"], shared),
        "by_depth": {"anyOf": [{"type": "array", "items": _schema(DepthRow, shared)}, _schema(Withheld, shared)]},
        "statistics": _object(statistics),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "summary.json of a drft-study report",
        "description": "The whole report, except the rows of trials and epochs, which trials.csv and epochs.csv hold.",
        **_object(properties),
        "$defs": dict(sorted(shared.items())),
    }


def _object(properties: Mapping[str, Any], description: str = "") -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {**described, "type": "object", "properties": dict(properties), "required": list(properties)}


def _schema(hint: Any, shared: Shared) -> dict[str, Any]:
    """Return the schema of the JSON that ``json_csv.plain`` makes of a type; named tuples are added to ``shared``."""
    kind, parts = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if kind is Literal:
        return {"enum": list(parts)}
    if kind in {types.UnionType, Union}:
        return {"anyOf": [_schema(part, shared) for part in parts]}
    if kind is tuple:
        many = parts[1:] == (...,)
        items = {"items": _schema(parts[0], shared)} if many else {"prefixItems": [_schema(p, shared) for p in parts]}
        return {"type": "array", **items}
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return {"type": "object", "additionalProperties": _schema(parts[1], shared)}
    return _named_tuple(hint, shared)


def _named_tuple(table: Any, shared: Shared) -> dict[str, Any]:
    """Describe a named tuple by its fields and their docstrings."""
    if table is Withheld:
        shared["Withheld"] = _object({"withheld": _PLAIN[str]}, "A statistic that would be invalid, and the reason.")
    elif table.__name__ not in shared:
        texts = _field_docstrings(table)
        described = {name: {"description": texts[name]} if name in texts else {} for name in get_type_hints(table)}
        fields = {name: {**_schema(hint, shared), **described[name]} for name, hint in get_type_hints(table).items()}
        shared[table.__name__] = _object(fields, inspect.getdoc(table) or "")
    return {"$ref": f"#/$defs/{table.__name__}"}


@cache
def _field_docstrings(table: type) -> dict[str, str]:
    """Return the docstring below each field of a class. Python keeps it in the source only."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            texts[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return texts


if __name__ == "__main__":
    print(json.dumps(summary_schema(), indent=2))
