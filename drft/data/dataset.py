"""The data set: the images of one data source, and what is known of them."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Origin = Literal["train", "test"]

GRADES: tuple[str, ...] = ("no DR", "mild", "moderate", "severe", "proliferative")
"""The International Clinical Diabetic Retinopathy scale (Wilkinson et al. 2003), grades 0 to 4."""


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """One image of a data set."""

    id: str
    """Unique in its data set: origin and file stem, such as ``train/IDRiD_001``."""
    path: Path
    grade: int
    origin: Origin
    """Where the publisher put it; ``test`` is sealed until ``confirm``."""
    group: str
    """Images of one group (duplicates, eyes of one patient) stay on one side of every split."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A file that changed what a source says of its images."""

    kind: Literal["exclude", "relabel"]
    file: str
    """Its name, without folders."""
    digest: str
    """SHA-256 of the file."""
    images: int
    """How many it concerned."""


@dataclass(frozen=True, slots=True)
class ImageDataset:
    """All images of one data source."""

    name: str
    """Short name of the source: ``synthetic``, ``idrid``, ``idrid-kaggle`` or the file it came from."""
    images: tuple[LabeledImage, ...]
    fingerprint: str
    """SHA-256 over ids, grades, origins and file contents: equal fingerprints are equal data."""
    grades: tuple[str, ...] = GRADES
    rendered: bool = False
    """True for images that no camera took."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know, one sentence each: duplicates, conflicts, changed grades."""
    corrections: tuple[Correction, ...] = ()
    """Files by which images were left out or graded otherwise than the source says."""

    def __len__(self) -> int:
        return len(self.images)

    def labels(self) -> NDArray[np.int64]:
        """Return the grades, shape (images,)."""
        return np.array([image.grade for image in self.images], dtype=np.int64)

    def counts(self, origin: Origin) -> tuple[int, ...]:
        """Return the number of images of each grade in one origin."""
        found = [image.grade for image in self.images if image.origin == origin]
        return tuple(found.count(grade) for grade in range(len(self.grades)))


def fingerprint(images: Sequence[LabeledImage], digests: Sequence[str]) -> str:
    """Return the fingerprint of images whose file contents have these SHA-256 digests."""
    lines = (f"{p.id}\t{p.grade}\t{p.origin}\t{digest}\n" for p, digest in zip(images, digests, strict=True))
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def grouping(images: Sequence[LabeledImage]) -> str:
    """Return the SHA-256 of which images belong together, whatever the groups are called."""
    members: dict[str, list[str]] = defaultdict(list)
    for image in images:
        members[image.group].append(image.id)
    lines = sorted("\t".join(sorted(ids)) for ids in members.values() if len(ids) > 1)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
