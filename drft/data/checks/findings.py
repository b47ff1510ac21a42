"""What a check has found, one sentence each."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["defect", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or remarkable."""

    severity: Severity
    """A defect makes results wrong or a study impossible until someone mends it; a note is good to know."""
    kind: str
    """Short name of what is wrong, the same for all findings of its kind."""
    text: str
    """What, where and what to do."""
    ids: tuple[str, ...] = ()
    """The images concerned."""
