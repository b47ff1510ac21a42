"""Write report files so that each appears whole or not at all."""

import os
import tempfile
from pathlib import Path

from drft.errors import StudyError


def write_whole(path: Path, text: str) -> None:
    """Write beside, flush to disk, rename.

    Raises:
        StudyError: when the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).chmod(0o644)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; choose another folder with --results") from None
