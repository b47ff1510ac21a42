"""Write report files so that each appears whole or not at all."""

from pathlib import Path

from drft.errors import StudyError
from drft.files.atomic import whole_file


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside, flush to disk, rename; text as UTF-8.

    Raises:
        StudyError: when the folder cannot be written.
    """
    try:
        with whole_file(path) as draft:
            draft.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; choose another folder with --results") from None
