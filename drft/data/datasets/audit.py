"""Check the files of a data set: report unreadable ones, and group files with the same bytes."""

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
    """The readable images, with duplicates in common groups, their SHA-256 digests and notes for the user."""

    images: tuple[LabeledImage, ...]
    digests: tuple[str, ...]
    notes: tuple[str, ...]


def audit_files(
    images: Sequence[LabeledImage], faults: DataErrors, progress: Progress, cache_dir: Path | None = None
) -> Audit:
    """Read every file once; files that were readable before and are unchanged are not read again.

    Images with unreadable files are missing from the result.

    Args:
        images: the images to check.
        faults: the faults of unreadable files are added to it.
        progress: called with the number of files read.
        cache_dir: where digests are stored; by default the user's cache folder.
    """
    stored = Digests([image.path for image in images], cache_dir)
    known = {image.path: digest for image in images if (digest := stored.get(image.path)) is not None}
    unknown = [image.path for image in images if image.path not in known]
    new: dict[Path, str] = {}
    with attempts(checked_digest, unknown, "checking images", progress) as results:
        for path, result in zip(unknown, results, strict=True):
            if isinstance(result, DataError):
                faults.add(result.faults)
            else:
                new[path] = result
    stored.store(new)
    known |= new
    readable = [image for image in images if image.path in known]
    digests = tuple(known[image.path] for image in readable)
    duplicates = same_bytes(readable, digests)
    return Audit(merge_groups(readable, duplicates), digests, tuple(_notes(duplicates)))


def checked_digest(path: Path) -> str:
    """Return the SHA-256 of an image file after a check of its beginning and its end.

    Raises:
        DataError: when the file is empty, cut off, unreadable or not an image.
    """
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as image:
            file_format = image.format
    except UnidentifiedImageError:
        problem = "is no image file" if content else "is empty"
        raise DataError(f"{path} {problem}: replace it or remove its line from the label table") from None
    except (OSError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({reason}): fix it or remove its line") from None
    if _is_cut_off(content, file_format):
        raise DataError(f"{path} is cut off, its end is missing: copy it again or remove its line")
    return hashlib.sha256(content).hexdigest()


def _is_cut_off(content: bytes, file_format: str | None) -> bool:
    """Return whether a JPEG or PNG file lacks its end marker."""
    if file_format == "JPEG":
        # A thumbnail inside the file has an end marker too, but that comes before the start of the last scan.
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    return file_format == "PNG" and b"IEND" not in content[-64:]


def same_bytes(images: Sequence[LabeledImage], digests: Sequence[str]) -> list[list[LabeledImage]]:
    """Return the sets of two or more images whose files have the same bytes."""
    by_digest: dict[str, list[LabeledImage]] = defaultdict(list)
    for image, digest in zip(images, digests, strict=True):
        by_digest[digest].append(image)
    return [duplicates for duplicates in by_digest.values() if len(duplicates) > 1]


def merge_groups(
    images: Sequence[LabeledImage], duplicates: Sequence[Sequence[LabeledImage]]
) -> tuple[LabeledImage, ...]:
    """Return the images with the groups of duplicates merged: two patients may share an image."""
    merged_into: dict[str, str] = {}

    def root(group: str) -> str:
        while group in merged_into:
            group = merged_into[group]
        return group

    for first, *others in duplicates:
        for other in others:
            name, merged = sorted((root(first.group), root(other.group)))
            if name != merged:
                merged_into[merged] = name
    return tuple(replace(image, group=root(image.group)) for image in images)


def _notes(duplicates: Sequence[Sequence[LabeledImage]]) -> Iterator[str]:
    for images in duplicates:
        names = " and ".join(f"{image.id} (grade {image.grade})" for image in images)
        conflict = len({image.grade for image in images}) > 1
        across = len({image.origin for image in images}) > 1
        yield (
            f"{names} are the same file{' with different grades' if conflict else ''}"
            f"{'; the training one is left out so that the test set stays unseen' if across else ''}."
        )
