"""The epochs of a trial as a user attribute: one JSON object with a list for each field of EpochRecord.

Studies of schema 1 have one attribute for each epoch instead (``epoch:001`` ...); they can still be read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from drft.training.records import EpochRecord

ATTRIBUTE = "epochs"
_FIELDS = tuple(field.name for field in fields(EpochRecord))


def pack(records: Sequence[EpochRecord]) -> str:
    """Return the value of the attribute ``epochs`` (JSON) for these records."""
    return json.dumps({name: [getattr(record, name) for record in records] for name in _FIELDS})


def unpack(attributes: Mapping[str, Any]) -> list[EpochRecord]:
    """Return the records in a trial's user attributes, in order of epochs; empty for an unfinished trial."""
    if ATTRIBUTE in attributes:
        columns = json.loads(attributes[ATTRIBUTE])
        return [EpochRecord(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    keys = sorted(key for key in attributes if key.startswith("epoch:"))
    return [EpochRecord(**json.loads(attributes[key])) for key in keys]
