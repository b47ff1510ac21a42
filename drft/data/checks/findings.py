"""One finding of a check of a data source."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["defect", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or remarkable."""

    severity: Severity
    """A defect makes results wrong or a study impossible until the user fixes it; a note only informs."""
    kind: str
    """Short name of the problem, the same for all findings of its kind."""
    text: str
    """What, where and what to do."""
    ids: tuple[str, ...] = ()
    """The images concerned."""
