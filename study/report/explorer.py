"""What the page shows of a single trial when a reader opens it: its curves, and what it was trained with."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from study.report.json_csv import plain
from study.results.study_results import StudyInfo, StudyResults

_CURVES = ("train_accuracy", "val_accuracy", "train_loss", "val_loss")


def explorer(results: StudyResults) -> dict[str, Any]:
    """Return the epochs and the searched values of every trial, and the settings all have in common.

    ``trials`` maps a trial's number to ``steps``, ``head`` (how many of them belong to the head phase), one list for
    each of the curves, and ``values`` by dimension; accuracies and losses are rounded to four decimals.
    """
    searched = list(results.info.dimensions)
    told = {number: _curves(epochs) for number, epochs in results.epochs.groupby("trial")}
    trials = {
        str(row["number"]): {**told.get(row["number"], {}), "values": _values(row, searched)}
        for row in results.trials.to_dict("records")
    }
    return {"common": _common(results.info), "trials": trials}


def explorer_json(results: StudyResults) -> str:
    """Return :func:`explorer` as compact text."""
    return json.dumps(explorer(results), separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _curves(epochs: pd.DataFrame) -> dict[str, Any]:
    lists = {name: plain(epochs[name].round(4).tolist()) for name in _CURVES}
    return {"steps": epochs["step"].tolist(), "head": int(epochs["phase"].eq("head").sum()), **lists}


def _values(row: Mapping[Any, Any], searched: list[str]) -> dict[str, Any]:
    return {name: plain(row[name]) for name in searched if not pd.isna(row[name])}


def _common(info: StudyInfo) -> dict[str, Any]:
    """Return the settings that were not searched, by path."""
    return {path: value for path, value in _leaves(info.base_config) if path not in info.dimensions}


def _leaves(part: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in part.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return found
