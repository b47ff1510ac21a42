"""Data of single trials for the page: the curves and settings that a reader sees when opening a trial."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from study.report.json_csv import plain
from study.results.study_results import StudyResults

_CURVES = ("train_accuracy", "val_accuracy", "train_loss", "val_loss")


def explorer_json(results: StudyResults) -> str:
    """Return the epochs and searched values of every trial, and the settings common to all, as compact JSON.

    ``trials`` maps a trial's number to ``steps``, ``head`` (how many of them belong to the head phase), one list for
    each of the curves, and ``values`` by dimension; accuracies and losses are rounded to four decimals. ``common``
    maps the path of each setting that was not searched to its value.
    """
    info = results.info
    curves = {number: _curves(epochs) for number, epochs in results.epochs.groupby("trial")}
    trials = {
        str(row["number"]): {
            **curves.get(row["number"], {}),
            "values": {name: plain(row[name]) for name in info.dimensions if not pd.isna(row[name])},
        }
        for row in results.trials.to_dict("records")
    }
    common = {path: value for path, value in _leaves(info.base_config) if path not in info.dimensions}
    document = {"common": common, "trials": trials}
    return json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _curves(epochs: pd.DataFrame) -> dict[str, Any]:
    lists = {name: plain(epochs[name].round(4).tolist()) for name in _CURVES}
    return {"steps": epochs["step"].tolist(), "head": int(epochs["phase"].eq("head").sum()), **lists}


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
