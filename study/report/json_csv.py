"""``summary.json``, ``trials.csv``, ``epochs.csv`` and ``suspects.csv``: the report for programs.

``summary.json`` holds ``schema`` (1), ``study``, ``data``, ``trials`` (count by state), ``best`` (the best trial's row
and dimensions, or null), ``by_depth`` and ``statistics``. Every statistic is an object of its fields; an estimate
has ``value``, ``low`` and ``high`` (95 %, null where n allows none) and ``n``; one that would be invalid is
``{"withheld": reason}``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import pandas as pd

from study.analysis import LabelErrors, Statistics, SuspectLabel, Withheld
from study.report.tables import trials_by_state
from study.results.study_results import StudyInfo, StudyResults

SCHEMA = 1


def summary(results: StudyResults, statistics: Statistics) -> dict[str, Any]:
    """Return the contents of ``summary.json``."""
    told = {field.name: getattr(statistics, field.name) for field in fields(statistics)}
    del told["history"]  # trials.csv has it
    by_depth = told.pop("depths")
    return {
        "schema": SCHEMA,
        "study": _study(results.info),
        "data": {"source": results.info.source, **results.info.dataset, "split": results.info.split},
        "trials": trials_by_state(results),
        "best": _best(results),
        "by_depth": plain(by_depth),
        "statistics": plain(told),
    }


def summary_json(results: StudyResults, statistics: Statistics) -> str:
    """Return ``summary.json`` as text."""
    return json.dumps(summary(results, statistics), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def csv(table: pd.DataFrame) -> str:
    """Return a table as CSV text; whatever is unknown is an empty cell."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def suspects_table(found: LabelErrors | Withheld) -> pd.DataFrame:
    """Return one row per suspect label, most suspect first; no row where there are none or they are withheld."""
    rows = () if isinstance(found, Withheld) else found.suspects
    table = pd.DataFrame(rows, columns=list(SuspectLabel._fields))
    means = {name: [getattr(row, name).value for row in rows] for name in ("given_probability", "proposed_probability")}
    return table.assign(**means)


def plain(value: Any) -> Any:
    """Turn named tuples, arrays of them and pandas values into what JSON knows; no number is null."""
    if isinstance(value, Withheld):
        return {"withheld": value.reason}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    entry = value.item() if hasattr(value, "item") else value
    return None if isinstance(entry, float) and not math.isfinite(entry) else entry


def _study(info: StudyInfo) -> dict[str, Any]:
    elsewhere = {"dataset", "split", "source", "dimensions", "folder", "url", "blocks"}
    told = {field.name: getattr(info, field.name) for field in fields(info) if field.name not in elsewhere}
    return {**plain(told), "dimensions": list(info.dimensions), "blocks": plain(info.blocks)}


def _best(results: StudyResults) -> dict[str, Any] | None:
    if results.eligible.empty:
        return None
    row: dict[str, Any] = plain(results.eligible.iloc[0].to_dict())
    dimensions = {name: row[name] if name == "depth" else row.pop(name) for name in results.info.dimensions}
    return {**row, "dimensions": dimensions}
