"""Check the files of a data set: report unreadable ones, and group files with the same bytes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drft.data.dataset import LabeledImage
from drft.data.datasets.faults import DataErrors
from drft.data.image_file import ImageFile
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
    images: Sequence[LabeledImage],
    classes: Sequence[str],
    faults: DataErrors,
    progress: Progress,
    cache_dir: Path | None = None,
) -> Audit:
    """Read every file once; files that were readable before and are unchanged are not read again.

    Images with unreadable files are missing from the result.

    Args:
        images: the images to check.
        classes: names of the classes, for notes.
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
    return Audit(merge_groups(readable, duplicates), digests, tuple(_notes(duplicates, classes)))


def checked_digest(path: Path) -> str:
    """Return the SHA-256 of an image file after a check of its beginning and its end.

    Raises:
        DataError: when the file is empty, cut off, unreadable or not an image.
    """
    file = ImageFile.read(path)
    if file.format in {"TIFF", "BMP"}:  # without an end that could be checked
        file.rgb(1)
    return file.digest


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


def _notes(duplicates: Sequence[Sequence[LabeledImage]], classes: Sequence[str]) -> Iterator[str]:
    for images in duplicates:
        names = " and ".join(f"{image.id} ({classes[image.grade]})" for image in images)
        conflict = len({image.grade for image in images}) > 1
        across = len({image.origin for image in images}) > 1
        yield (
            f"{names} are the same file{' with different labels' if conflict else ''}"
            f"{'; the training one is left out so that the test set stays unseen' if across else ''}."
        )
