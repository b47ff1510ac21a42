"""Where things that can be computed again are kept, and how a file gets there whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def default_cache_dir() -> Path:
    """Return the folder named by ``DRFT_CACHE``, or ``drft-study`` in the user's cache folder."""
    named = os.environ.get("DRFT_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("drft-study")


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a path to write to; when the block ends well, that file becomes ``path`` in one step.

    The file is written beside its goal under a name of its own, so that two processes may write the same file
    at once: the later one replaces an equal file. When the block raises, nothing is left behind.

    Args:
        path: the file to write.
        durable: whether the file must outlive a power cut. Waiting for the disk takes its time; a file that carries
            a checksum and can be computed again does without.

    Raises:
        OSError: when the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        if durable:
            with draft.open("rb+") as written:
                os.fsync(written.fileno())
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
