"""The tables of the page and of the Markdown report, as formatted text."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from study.analysis import DepthRow
from study.analysis.backbones import BackboneRow
from study.report.wording import number, percent, percent_range, plus_minus
from study.results.study_results import StudyInfo, StudyResults


class Cell(NamedTuple):
    """One cell: its text, and its sort key (empty if the text is the key or there is no value)."""

    text: str
    key: str = ""


class TrialRow(NamedTuple):
    """One trial of the trial table."""

    state: str
    best: bool
    cells: tuple[Cell, ...]


DEPTH_HEADINGS = (
    *("depth", "trainable share", "n", "best (95% interval)", "best trial"),
    *("mean accuracy", "gap, best epoch", "gap, last epoch"),
)

BACKBONE_HEADINGS = (
    *("backbone", "blocks", "n", "best (95% interval)", "best trial", "its depth"),
    *("mean accuracy", "gap, last epoch", "seconds a trial"),
)

STATES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}

_PERCENTS = {
    "val_accuracy_best": "validation, best epoch",
    "train_accuracy_best": "train, best epoch",
    "val_accuracy_last": "validation, last epoch",
    "train_accuracy_last": "train, last epoch",
}
_GAPS = {"gap_best": "gap, best epoch", "gap_last": "gap, last epoch"}


def depth_rows(depths: tuple[DepthRow, ...]) -> list[tuple[str, ...]]:
    """Return one row of texts per depth, in the order of ``DEPTH_HEADINGS``."""
    return [
        (
            str(row.depth),
            percent(row.trainable_fraction),
            str(row.n),
            f"{percent(row.best.value)} ({percent_range(row.best)})",
            str(row.best_trial),
            plus_minus(row.accuracy),
            plus_minus(row.gap_best),
            plus_minus(row.gap_last),
        )
        for row in depths
    ]


def backbone_rows(backbones: tuple[BackboneRow, ...]) -> list[tuple[str, ...]]:
    """Return one row of texts per backbone, in the order of ``BACKBONE_HEADINGS``."""
    return [
        (
            row.backbone,
            str(row.blocks),
            str(row.n),
            f"{percent(row.best.value)} ({percent_range(row.best)})",
            str(row.best_trial),
            str(row.best_depth),
            plus_minus(row.accuracy),
            plus_minus(row.gap_last),
            number(row.seconds.value),
        )
        for row in backbones
    ]


def trial_headings(info: StudyInfo) -> tuple[str, ...]:
    """Return the headings of the trial table."""
    agreement = ("QWK, best epoch",) if info.ordinal else ()
    measured = ("best epoch", *_PERCENTS.values(), *_GAPS.values(), *agreement, "seconds")
    return ("trial", "state", "depth", *measured, *_searched(info), "note")


def trial_rows(results: StudyResults) -> list[TrialRow]:
    """Return one row per trial, in the order of :func:`trial_headings`."""
    best = None if results.eligible.empty else int(results.eligible.iloc[0]["number"])
    searched = _searched(results.info)
    return [
        TrialRow(STATES[row["state"]], row["number"] == best, _trial_cells(row, searched, ordinal=results.info.ordinal))
        for row in results.trials.to_dict("records")
    ]


def trials_by_state(results: StudyResults) -> dict[str, int]:
    """Return the number of trials in each state, including the states that do not occur."""
    counts = results.trials["state"].value_counts()
    return {state: int(counts.get(state, 0)) for state in STATES}


def _searched(info: StudyInfo) -> tuple[str, ...]:
    return tuple(name for name in info.dimensions if name != "depth")


def _trial_cells(row: dict[Any, Any], searched: tuple[str, ...], *, ordinal: bool) -> tuple[Cell, ...]:
    epoch = "" if pd.isna(row["best_step"]) else f"{row['best_step']} of {row['last_step']}"
    return (
        _cell(row["number"]),
        Cell(STATES[row["state"]]),
        _cell(row["depth"]),
        Cell(epoch, epoch and str(row["best_step"])),
        *(_cell(row[name], percent) for name in _PERCENTS),
        *(_cell(row[name], lambda gap: number(100 * gap)) for name in _GAPS),
        *([_cell(row["val_qwk_best"], lambda qwk: number(qwk, 2))] if ordinal else []),
        _cell(row["seconds"], number),
        *(
            _cell(row[name], lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
            for name in searched
        ),
        Cell(_note(row)),
    )


def _cell(value: Any, write: Callable[[Any], str] = str) -> Cell:
    return Cell("") if pd.isna(value) else Cell(write(value), str(value))


def _note(row: dict[Any, Any]) -> str:
    parts = [] if pd.isna(row["fail_reason"]) else [str(row["fail_reason"])]
    if not pd.isna(row["retry_of"]):
        parts.append(f"retry of trial {row['retry_of']}")
    if row["state"] == "PRUNED" and not pd.isna(row["folds"]):
        parts.append(f"{row['folds']} folds ran")
    if not row["feasible"]:
        parts.append("gap above the limit")
    return "; ".join(parts)
