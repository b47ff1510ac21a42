"""The report for programs: ``summary.json``, ``trials.csv``, ``epochs.csv`` and ``suspects.csv``.

``summary.json`` holds ``schema`` (1), ``study``, ``data``, ``trials`` (count by state), ``best`` (the best trial's row
and dimensions, or null), ``verdict`` (which depth, of a study with the goal depth), ``promise`` (the accuracy of its
model on new images), ``floor`` (a linear model on frozen features), ``by_depth`` and ``statistics``. Every statistic is
an object of its fields; an estimate has ``value``, ``low`` and ``high`` (95 %, null where n allows none) and ``n``; one
that would be invalid is ``{"withheld": reason}``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from drft.files.csv_cells import text_cell
from study.analysis import Statistics, Withheld
from study.analysis.label_errors import LabelErrors, SuspectLabel
from study.report.tables import trials_by_state
from study.results.study_results import StudyInfo, StudyResults
from study.results.test_set_openings import openings_of

SCHEMA = 1


def summary(results: StudyResults, statistics: Statistics) -> dict[str, Any]:
    """Return the contents of ``summary.json``."""
    values = {field.name: getattr(statistics, field.name) for field in fields(statistics)}
    del values["history"]  # trials.csv has it
    by_depth, verdict, floor = (values.pop(name) for name in ("depths", "verdict", "floor"))
    return {
        "schema": SCHEMA,
        "study": _study(results.info),
        "data": {
            "source": results.info.source,
            **results.info.dataset,
            "split": results.info.split,
            "test_set_openings": plain(openings_of(results)),
        },
        "trials": trials_by_state(results),
        "best": _best(results),
        "verdict": plain(verdict),
        "promise": plain(verdict if isinstance(verdict, Withheld) else verdict.promise),
        "floor": plain(floor),
        "by_depth": plain(by_depth),
        "statistics": plain(values),
    }


def summary_json(results: StudyResults, statistics: Statistics) -> str:
    """Return ``summary.json`` as text."""
    return json.dumps(summary(results, statistics), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def csv(table: pd.DataFrame) -> str:
    """Return a table as CSV text; unknown values are empty cells, and no text is a formula of a spreadsheet."""
    cells = {
        str(name): column.map(lambda value: text_cell(value) if isinstance(value, str) else value)
        for name, column in table.items()
        if not is_numeric_dtype(column)
    }
    return str(table.assign(**cells).to_csv(index=False, lineterminator="\n"))


def suspects_table(errors: LabelErrors | Withheld, info: StudyInfo) -> pd.DataFrame:
    """Return one row per suspect label, most suspect first; no rows if there are none or they are withheld.

    Classes have their names, but grades of retinopathy their numbers.
    """
    rows = () if isinstance(errors, Withheld) else errors.suspects
    table = pd.DataFrame(rows, columns=list(SuspectLabel._fields))
    means: dict[str, list[Any]] = {
        name: [getattr(row, name).value for row in rows] for name in ("given_probability", "proposed_probability")
    }
    if not info.is_retinopathy:
        means |= {name: [info.classes[getattr(row, name)] for row in rows] for name in ("grade", "proposed")}
    return table.assign(**means)


def plain(value: Any) -> Any:
    """Convert named tuples, sequences, mappings and pandas values to JSON types; NaN and infinity become null."""
    if isinstance(value, Withheld):
        return {"withheld": value.reason}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or pd.isna(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    scalar = value.item() if hasattr(value, "item") else value
    return None if isinstance(scalar, float) and not math.isfinite(scalar) else scalar


def _study(info: StudyInfo) -> dict[str, Any]:
    elsewhere = {"dataset", "split", "source", "dimensions", "folder", "url", "blocks"}
    values = {field.name: getattr(info, field.name) for field in fields(info) if field.name not in elsewhere}
    used = {name: " and ".join(values.pop(f"{name}s")) for name in ("sampler", "pruner")}
    return {**plain(values), **used, "dimensions": list(info.dimensions), "blocks": plain(info.blocks)}


def _best(results: StudyResults) -> dict[str, Any] | None:
    if results.eligible.empty:
        return None
    row: dict[str, Any] = plain(results.eligible.iloc[0].to_dict())
    dimensions = {name: row[name] if name == "depth" else row.pop(name) for name in results.info.dimensions}
    return {**row, "dimensions": dimensions}
