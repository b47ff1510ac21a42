"""Decisions on suspect labels, in the column ``decision`` of ``suspects.csv``; a new report keeps them."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from drft.data.datasets.csv_table import read_table
from drft.errors import DataError
from drft.files.csv_cells import text_of_cell
from study.results.predictions_file import name_damage


def with_decisions(suspects: pd.DataFrame, before: Iterable[Path]) -> pd.DataFrame:
    """Add the column ``decision`` with the decisions of the files that former reports wrote.

    Rows with a decision keep their proposed grade, which a person may have changed, and they stay in the table when
    their images are no longer suspect.

    Args:
        suspects: one row per suspect label, with ``id`` and ``proposed``.
        before: these files, which need not exist; where two of them decide on an image, the later one counts.
    """
    decided: dict[str, Mapping[str, str]] = {}
    for path in dict.fromkeys(before):
        decided |= _decided(path)
    ids = list(map(str, suspects["id"]))
    proposed = zip(ids, suspects["proposed"], strict=True)
    table = suspects.assign(
        proposed=[decided[id_]["proposed"] if id_ in decided else grade for id_, grade in proposed],
        decision=[decided[id_]["decision"] if id_ in decided else "" for id_ in ids],
    )
    gone = [cells for id_, cells in decided.items() if id_ not in ids]
    if not gone:
        return table
    return pd.concat([table.astype(object), pd.DataFrame(gone, columns=table.columns, dtype=object)], ignore_index=True)


def _decided(path: Path) -> dict[str, Mapping[str, str]]:
    """Return the rows with a decision by id; empty if there is no such table, or it has a header alone."""
    if not path.is_file() or len(path.read_bytes().splitlines()) < 2:
        return {}
    columns: set[str] = set()
    try:
        table = read_table(path)
        columns = set(table.columns)
    except DataError:
        pass
    if not {"id", "proposed", "decision"} <= columns:
        # Someone may have worked on it for hours, and the new report replaces it.
        copy = path.with_suffix(".unreadable.csv")
        shutil.copyfile(path, copy)
        name_damage(f"{path} holds no decisions that can be read: it is kept as {copy.name}, and a new one begun")
        return {}
    rows = ((text_of_cell(cells["id"]), cells) for _, cells in table.rows if cells["decision"])
    return {id_: {**cells, "id": id_} for id_, cells in rows}
