"""What is wrong or remarkable with the files of a data set: unreadable ones, and the same image twice."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from drft.data.dataset import LabeledImage
from drft.data.datasets.faults import DataErrors
from drft.data.parallel import attempts
from drft.data.progress import Progress
from drft.errors import DataError
from drft.files.digests import Digests


@dataclass(frozen=True, slots=True)
class Audit:
    """The images with duplicates in common groups, their SHA-256 digests and what was noticed."""

    images: tuple[LabeledImage, ...]
    digests: tuple[str, ...]
    notes: tuple[str, ...]


def audit_files(
    images: Sequence[LabeledImage], faults: DataErrors, progress: Progress, cache_dir: Path | None = None
) -> Audit:
    """Read every file once, and those found sound before not at all if they are unchanged.

    Faulty files are added to ``faults`` and missing from the result.
    """
    known = Digests([image.path for image in images], cache_dir)
    unknown = [image.path for image in images if known.get(image.path) is None]
    found: dict[Path, str] = {}
    with attempts(checked_digest, unknown, "checking images", progress) as results:
        for path, result in zip(unknown, results, strict=True):
            if isinstance(result, DataError):
                faults.add(result.faults)
            else:
                found[path] = result
    known.store(found)
    told = [(image, known.get(image.path) or found.get(image.path)) for image in images]
    sound = [image for image, digest in told if digest is not None]
    digests = [digest for _, digest in told if digest is not None]
    copies = same_bytes(sound, digests)
    return Audit(grouped(sound, copies), tuple(digests), tuple(_notes(copies)))


def checked_digest(path: Path) -> str:
    """Return the SHA-256 of an image file whose beginning and end are those of a whole image.

    Raises:
        DataError: when the file is empty, cut off, unreadable or no image.
    """
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as image:
            kind = image.format
    except UnidentifiedImageError:
        what = "is no image file" if content else "is empty"
        raise DataError(f"{path} {what}: replace it or remove its line from the label table") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): mend it or remove its line"
        ) from None
    if _cut_off(content, kind):
        raise DataError(f"{path} is cut off, its end is missing: copy it again or remove its line")
    return hashlib.sha256(content).hexdigest()


def _cut_off(content: bytes, kind: str | None) -> bool:
    """Tell a file without its end marker; the end of a thumbnail inside a JPEG comes before the last scan."""
    if kind == "JPEG":
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    return kind == "PNG" and b"IEND" not in content[-64:]


def same_bytes(images: Sequence[LabeledImage], digests: Sequence[str]) -> list[list[LabeledImage]]:
    """Return the sets of images that have the same bytes."""
    same: dict[str, list[LabeledImage]] = defaultdict(list)
    for image, digest in zip(images, digests, strict=True):
        same[digest].append(image)
    return [copies for copies in same.values() if len(copies) > 1]


def grouped(images: Sequence[LabeledImage], copies: Sequence[Sequence[LabeledImage]]) -> tuple[LabeledImage, ...]:
    """Join the groups of copies of one image, patients included: two patients may share an image."""
    joined: dict[str, str] = {}

    def root(group: str) -> str:
        while group in joined:
            group = joined[group]
        return group

    for first, *others in copies:
        for other in others:
            kept, gone = sorted((root(first.group), root(other.group)))
            if kept != gone:
                joined[gone] = kept
    return tuple(replace(image, group=root(image.group)) for image in images)


def _notes(copies: Sequence[Sequence[LabeledImage]]) -> Iterator[str]:
    for same in copies:
        names = " and ".join(f"{image.id} (grade {image.grade})" for image in same)
        conflict = len({image.grade for image in same}) > 1
        across = len({image.origin for image in same}) > 1
        yield (
            f"{names} are the same file{' with different grades' if conflict else ''}"
            f"{'; the training one is left out so that the test set stays unseen' if across else ''}."
        )
