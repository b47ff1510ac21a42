"""Images that occur twice in different files, kept on one side of every split for whoever asks for it.

Comparing takes all files once, decoded; what was found is kept in the cache folder, by the contents of the files.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from drft.data.dataset import LabeledImage
from drft.data.datasets.thumbnails import portray
from drft.data.parallel import attempts
from drft.data.progress import Progress
from drft.errors import DataError
from drft.files.atomic import default_cache_dir, whole_file

OPTION = "group_lookalikes"
"""The data option that asks for it, with the value ``yes``."""

Pair = tuple[LabeledImage, LabeledImage]

_VERSION = 1
"""Part of the name of what is kept; raised when files would be compared in another way."""


def lookalike_pairs(
    images: Sequence[LabeledImage], digests: Sequence[str], progress: Progress, cache_dir: Path | None = None
) -> list[Pair]:
    """Return the pairs of images that show the same in different files (``drft.data.datasets.perceptual_hash``).

    Args:
        images: sound ones.
        digests: SHA-256 of their files, in the same order.
        progress: told how many files are read.
        cache_dir: where the result is kept; by default the user's cache folder.

    Raises:
        DataError: naming the first file that cannot be decoded.
    """
    firsts: dict[str, LabeledImage] = {}
    for image, digest in zip(images, digests, strict=True):
        firsts.setdefault(digest, image)
    name = hashlib.sha256("\n".join([str(_VERSION), *sorted(firsts)]).encode()).hexdigest()
    path = (cache_dir or default_cache_dir()) / "lookalikes" / f"{name[:32]}.json"
    pairs = _kept(path, firsts)
    if pairs is None:
        pairs = _compared(firsts, progress)
        with contextlib.suppress(OSError), whole_file(path) as draft:
            draft.write_text(json.dumps(pairs))
    return [(firsts[one], firsts[other]) for one, other in pairs]


def pair_notes(pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield one sentence for each pair."""
    for first, second in pairs:
        conflict = " with different grades" if first.grade != second.grade else ""
        across = first.origin != second.origin
        yield (
            f"{first.id} (grade {first.grade}) and {second.id} (grade {second.grade}) are the same image{conflict}; "
            f"{'the training one is left out' if across else 'they stay on one side of the split'}."
        )


def _compared(firsts: Mapping[str, LabeledImage], progress: Progress) -> list[tuple[str, str]]:
    """Look at every file and return the digests of the pairs."""
    from drft.data.datasets.perceptual_hash import find_lookalikes  # noqa: PLC0415 (scipy, for those who ask)

    shown, images = [], []
    paths = [one.path for one in firsts.values()]
    with attempts(portray, paths, "comparing images", progress) as results:
        for digest, portrait in zip(firsts, results, strict=True):
            if isinstance(portrait, DataError):
                raise portrait
            if not portrait.is_black and not portrait.is_flat:
                shown.append(digest)
                images.append(portrait.grey)
    found, _ = find_lookalikes(np.array(images))
    return [(shown[one.first], shown[one.second]) for one in found]


def _kept(path: Path, known: Mapping[str, LabeledImage]) -> list[tuple[str, str]] | None:
    """Return what is kept; None where there is nothing, or not what was written."""
    try:
        pairs = [(str(one), str(other)) for one, other in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return None
    return pairs if all(digest in known for pair in pairs for digest in pair) else None
