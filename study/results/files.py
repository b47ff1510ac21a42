"""Write files and folders that appear whole or not at all; an OSError becomes a StudyError with advice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drft.errors import StudyError
from drft.files import atomic


def write_whole(path: Path, content: str | bytes, advice: str = "choose another folder with --results") -> None:
    """Write a file; text is encoded as UTF-8.

    Args:
        path: the file; its folder is created. Of a link, the file that it leads to is replaced.
        content: of the file.
        advice: what the user can do if it cannot be written.

    Raises:
        StudyError: when the file cannot be written, or is a device or a pipe, which would be replaced.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise StudyError(f"cannot write {path}: it is a device or a pipe; {advice}")
        with atomic.whole_file(path.resolve() if path.exists() else path) as draft:
            draft.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; {advice}") from None


@contextmanager
def whole_folder(out: Path, advice: str, *, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden folder to fill; it takes the place of ``out`` at the end.

    Args:
        out: the folder. Of a link, the folder that it leads to is replaced.
        advice: what the user can do if it cannot be written.
        replace: delete the contents of ``out``. Without it, they stay, and the new folder is removed.

    Raises:
        StudyError: when the folder cannot be written, or has contents that stay.
    """
    try:
        target = out.resolve()
        with atomic.whole_folder(target, replace=replace) as draft:
            yield draft
            if not replace and target.is_dir():
                target.rmdir()  # fails if another process has filled it in the meantime
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; {advice}") from None
