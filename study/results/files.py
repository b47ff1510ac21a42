"""Write report files so that each appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def whole_folder(out: Path, advice: str) -> Iterator[Path]:
    """Give a hidden folder to fill, which then takes the place of ``out``.

    Args:
        out: the folder; what it held is gone afterwards.
        advice: what to do where it cannot be written.

    Raises:
        StudyError: when it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; {advice}") from None
    try:
        yield draft
        draft.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        draft.replace(out)
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; {advice}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
