"""The data set: the images of one data source with their labels, groups and origins."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """The part in which the data set publishes the image; ``test`` images are held out until ``confirm``."""
    group: str
    """Images of one group (duplicates, eyes of one patient) stay on one side of every split."""

    def as_test(self) -> "LabeledImage":
        """Return the image as one of the test part, with an id that says so."""
        return replace(self, id=f"test/{self.id.removeprefix('train/')}", origin="test")


@dataclass(frozen=True, slots=True)
class TestPart:
    """A test part that is held out of a source that publishes none."""

    __test__ = False  # pytest takes names that begin with Test for tests

    fraction: float
    """Share of the images of each class, as far as whole groups allow."""
    seed: int = 0

    def __str__(self) -> str:
        """Return a note for a reader of the results."""
        return (
            f"The source names no test images: {self.fraction:.0%} of its images are held out as a test part "
            f"(--test-fraction {self.fraction:g}, seed {self.seed})."
        )


@dataclass(frozen=True, slots=True)
class Correction:
    """A file that changed labels of a source: the user excluded or relabelled images with it."""

    kind: Literal["exclude", "relabel"]
    file: str
    """File name without folders."""
    digest: str
    """SHA-256 of the file."""
    images: int
    """Number of images that it excluded or relabelled."""


@dataclass(frozen=True, slots=True)
class ImageDataset:
    """All images of one data source."""

    name: str
    """Short name of the source: ``synthetic``, ``idrid``, ``idrid-kaggle`` or the file it came from."""
    images: tuple[LabeledImage, ...]
    fingerprint: str
    """SHA-256 of ids, grades, origins and file contents: equal data have equal fingerprints, in any order of images."""
    grades: tuple[str, ...] = GRADES
    """Names of the classes, 0 first."""
    ordinal: bool = True
    """Whether the classes are ordered, as grades are: then quadratic weighted kappa and ordinal losses make sense."""
    rendered: bool = False
    """True for images drawn by this program, which no camera took."""
    label_version: str = ""
    """Which labels are used, if there are two versions of them; else empty."""
    notes: tuple[str, ...] = ()
    """Sentences for a reader of the results: duplicates, conflicting grades, changed grades."""
    corrections: tuple[Correction, ...] = ()
    """Files with which the user excluded or relabelled images."""
    test_part: TestPart | None = None
    """How the test part was held out of a source that publishes none; None for a published one, or none at all."""
    test_fingerprint: str = ""
    """SHA-256 of the contents of the test images: corrections of labels, which are those of training images, do not
    change it. Empty if there are no test images."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def photographs(self) -> tuple[LabeledImage, ...]:
        """``images``, by its name in version 0.1."""
        return self.images

    @property
    def ordered_fingerprint(self) -> str:
        """SHA-256 of the fingerprint and of the order of the images, for whatever names images by their positions."""
        lines = [self.fingerprint, *(image.id for image in self.images)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def labels(self) -> NDArray[np.int64]:
        """Return the grades, shape (images,)."""
        return np.array([image.grade for image in self.images], dtype=np.int64)

    def counts(self, origin: Origin) -> tuple[int, ...]:
        """Return the number of images of each grade in one origin."""
        labels = [image.grade for image in self.images if image.origin == origin]
        return tuple(labels.count(grade) for grade in range(len(self.grades)))


def fingerprint(images: Sequence[LabeledImage], digests: Sequence[str]) -> str:
    """Return the fingerprint of images whose file contents have these SHA-256 digests."""
    pairs = zip(images, digests, strict=True)
    lines = (f"{image.id}\t{image.grade}\t{image.origin}\t{digest}\n" for image, digest in pairs)
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def fingerprint_of_test(images: Sequence[LabeledImage], digests: Sequence[str]) -> str:
    """Return the fingerprint of the test images among images whose file contents have these SHA-256 digests."""
    pairs = zip(images, digests, strict=True)
    lines = sorted(f"{digest}\n" for image, digest in pairs if image.origin == "test")
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def grouping(images: Sequence[LabeledImage]) -> str:
    """Return a SHA-256 of which images share a group; the names of the groups do not matter."""
    members: dict[str, list[str]] = defaultdict(list)
    for image in images:
        members[image.group].append(image.id)
    lines = sorted("\t".join(sorted(ids)) for ids in members.values() if len(ids) > 1)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
