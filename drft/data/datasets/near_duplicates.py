"""Near duplicates: the same image in different files. On request they stay on one side of every split.

The comparison decodes all files once; its result is stored in the cache folder under the contents of the files.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drft.data.dataset import LabeledImage
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.image_fingerprint import fingerprint_image
from drft.data.parallel import attempts
from drft.data.progress import Progress
from drft.errors import DataError
from drft.files.atomic import default_cache_dir, whole_file

OPTION = "group_lookalikes"
"""The data option that groups near duplicates, with the value ``yes``."""

Pair = tuple[LabeledImage, LabeledImage]

_VERSION = 1
"""Part of the name of the stored file; raise it when files are compared differently."""


def near_duplicate_pairs(
    images: Sequence[LabeledImage], digests: Sequence[str], progress: Progress, cache_dir: Path | None = None
) -> list[Pair]:
    """Return the pairs of images that show the same in different files (``drft.data.datasets.perceptual_hash``).

    Args:
        images: images with readable files.
        digests: SHA-256 of their files, in the same order.
        progress: called with the number of files read.
        cache_dir: where the result is stored; by default the user's cache folder.

    Raises:
        DataError: naming the first file that cannot be decoded.
    """
    by_digest: dict[str, LabeledImage] = {}
    for image, digest in zip(images, digests, strict=True):
        by_digest.setdefault(digest, image)
    name = hashlib.sha256("\n".join([str(_VERSION), *sorted(by_digest)]).encode()).hexdigest()
    path = (cache_dir or default_cache_dir()) / "lookalikes" / f"{name[:32]}.json"
    pairs = _load(path, by_digest)
    if pairs is None:
        pairs = _compare(by_digest, progress)
        with contextlib.suppress(OSError), whole_file(path) as draft:
            draft.write_text(json.dumps(pairs))
    return [(by_digest[first], by_digest[second]) for first, second in pairs]


def pair_notes(pairs: Sequence[Pair], classes: Sequence[str]) -> Iterator[str]:
    """Yield one sentence for each pair; ``classes`` are the names of the classes."""
    for first, second in pairs:
        conflict = " with different labels" if first.grade != second.grade else ""
        across = first.origin != second.origin
        yield (
            f"{first.id} ({classes[first.grade]}) and {second.id} ({classes[second.grade]}) are the same image"
            f"{conflict}; "
            f"{'the training one is left out' if across else 'they stay on one side of the split'}."
        )


def _compare(by_digest: Mapping[str, LabeledImage], progress: Progress) -> list[tuple[str, str]]:
    """Decode every file and return the digests of the pairs."""
    from drft.data.datasets.perceptual_hash import find_near_duplicates  # noqa: PLC0415  SciPy is slow to import

    fingerprints, faults = [], DataErrors()
    paths = [image.path for image in by_digest.values()]
    with attempts(fingerprint_image, paths, "comparing images", progress) as results:
        for result in results:
            if isinstance(result, DataError):
                faults.add(result.faults)
            else:
                fingerprints.append(result)
    faults.raise_all()
    digests = list(by_digest)
    pairs, _ = find_near_duplicates(fingerprints)
    return [(digests[pair.first], digests[pair.second]) for pair in pairs]


def _load(path: Path, known: Mapping[str, LabeledImage]) -> list[tuple[str, str]] | None:
    """Return the stored pairs of digests; None when the file is missing or damaged."""
    try:
        pairs = [(str(first), str(second)) for first, second in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return None
    return pairs if all(digest in known for pair in pairs for digest in pair) else None
