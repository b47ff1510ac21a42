"""Write report files so that each appears whole or not at all."""

from pathlib import Path

from drft.data.cache import whole_file
from drft.errors import StudyError


def write_whole(path: Path, text: str) -> None:
    """Write beside, flush to disk, rename.

    Raises:
        StudyError: when the folder cannot be written.
    """
    try:
        with whole_file(path) as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; choose another folder with --results") from None
