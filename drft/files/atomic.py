"""Files and folders that appear whole or not at all, and the folder of the cache."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from drft.errors import StudyError
from drft.files.home import expand_home


def default_cache_dir() -> Path:
    """Return the folder that ``DRFT_CACHE`` names, or ``drft-study`` in the user's cache folder.

    Raises:
        StudyError: when the user has no home folder.
    """
    named = os.environ.get("DRFT_CACHE")
    try:
        path = expand_home(named) if named else platformdirs.user_cache_path("drft-study")
    except RuntimeError:
        path = Path("~")
    if path.parts[:1] and path.parts[0].startswith("~"):  # older platformdirs name a folder in the working folder
        raise StudyError(f"cache folder {named or path}: this user has no home folder; name a folder with DRFT_CACHE")
    return path


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield the path of a temporary file to write; rename it to ``path`` when the block ends without an error.

    The temporary file lies next to ``path``, is hidden and has a name of its own. Two processes may therefore write
    the same file at once: the later one replaces the earlier one. When the block raises, the temporary file is removed.

    Args:
        path: the file to write; its folder is created.
        durable: flush the file to disk first, so that it survives a power cut. This is slow, and not needed for a
            file that carries a checksum and can be computed again.

    Raises:
        OSError: when the folder cannot be created or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays: some libraries choose the file format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        draft.chmod(0o644)  # mkstemp gives access to the owner alone
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill; rename it to ``path`` when the block ends without an error.

    The temporary folder lies next to ``path`` and is hidden. When the block raises, it is removed.

    Args:
        path: the folder to create, with its parents.
        replace: delete an existing folder first. Without it, a folder that exists at the end stays and the new one is
            removed: another process has created the same content in the meantime.

    Raises:
        OSError: when the folder cannot be created or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield draft
        draft.chmod(0o755)  # mkdtemp gives access to the owner alone
        if replace and path.exists():
            shutil.rmtree(path)
        try:
            draft.rename(path)
        except OSError:
            if replace or not path.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
