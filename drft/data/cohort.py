"""The cohort: the photographs of one data source, and what is known of them."""

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
    """One photograph of a cohort."""

    id: str
    """Unique in its cohort: origin and file stem, such as ``train/IDRiD_001``."""
    path: Path
    grade: int
    origin: Origin
    """Where the publisher put it; ``test`` is sealed until ``confirm``."""
    group: str
    """Photographs of one group (duplicates, eyes of one patient) stay on one side of every split."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A file that changed what a source says of its photographs."""

    kind: Literal["exclude", "relabel"]
    file: str
    """Its name, without folders."""
    digest: str
    """SHA-256 of the file."""
    photographs: int
    """How many it concerned."""


@dataclass(frozen=True, slots=True)
class ImageDataset:
    """All photographs of one data source."""

    name: str
    """Short name of the source: ``synthetic``, ``idrid``, ``idrid-kaggle`` or the file it came from."""
    photographs: tuple[LabeledImage, ...]
    fingerprint: str
    """SHA-256 over ids, grades, origins and file contents: equal fingerprints are equal data."""
    grades: tuple[str, ...] = GRADES
    rendered: bool = False
    """True for pictures that no camera took."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know, one sentence each: duplicates, conflicts, changed grades."""
    corrections: tuple[Correction, ...] = ()
    """Files by which photographs were left out or graded otherwise than the source says."""

    def __len__(self) -> int:
        return len(self.photographs)

    def labels(self) -> NDArray[np.int64]:
        """Return the grades, shape (photographs,)."""
        return np.array([photograph.grade for photograph in self.photographs], dtype=np.int64)

    def counts(self, origin: Origin) -> tuple[int, ...]:
        """Return the number of photographs of each grade in one origin."""
        found = [photograph.grade for photograph in self.photographs if photograph.origin == origin]
        return tuple(found.count(grade) for grade in range(len(self.grades)))


def fingerprint(photographs: Sequence[LabeledImage], digests: Sequence[str]) -> str:
    """Return the fingerprint of photographs whose file contents have these SHA-256 digests."""
    lines = (f"{p.id}\t{p.grade}\t{p.origin}\t{digest}\n" for p, digest in zip(photographs, digests, strict=True))
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def grouping(photographs: Sequence[LabeledImage]) -> str:
    """Return the SHA-256 of which photographs belong together, whatever the groups are called."""
    members: dict[str, list[str]] = defaultdict(list)
    for photograph in photographs:
        members[photograph.group].append(photograph.id)
    lines = sorted("\t".join(sorted(ids)) for ids in members.values() if len(ids) > 1)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
