"""DDR (Li et al. 2019) as published: ``train.txt``, ``valid.txt`` and ``test.txt`` beside folders of those names.

Each line names an image and its grade, ``007-0004-000.jpg 0``; grade 5 marks images that cannot be graded.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from drft.data.dataset import Origin
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.listing import ListedImage, Listing
from drft.errors import DataError

_PARTS: Mapping[str, Origin] = {"train": "train", "valid": "train", "test": "test"}
_LINE = re.compile(r"(\S+\.(?:jpe?g|png)) +(\d+)", re.IGNORECASE)
_UNGRADABLE = "5"


def find_ddr(files: Sequence[Path]) -> list[Path]:
    """Return DDR's label files among the files of a folder; none when it is not there.

    Raises:
        DataError: when there are several copies.
    """
    tables = [file for file in files if file.suffix == ".txt" and file.stem in _PARTS and _is_table(file)]
    training = [table for table in tables if table.stem == "train"]
    if len(training) > 1:
        copies = " and ".join(map(str, training[:2]))
        raise DataError(f"{copies} are two copies of DDR: name the folder of one of them")
    return [table for table in tables if training and table.parent == training[0].parent]


def list_ddr(tables: Sequence[Path]) -> Listing:
    """Read what DDR's label files claim."""
    faults = DataErrors()
    lines = [line for table in tables for line in _part(table, faults)]
    graded = [line for line in lines if line.grade != _UNGRADABLE]
    left_out = [line for line in lines if line.grade == _UNGRADABLE]
    notes = []
    if left_out:
        notes.append(f"{len(left_out)} images of grade 5 are left out: they cannot be graded.")
    if any(table.stem == "valid" for table in tables):
        notes.append("DDR's own validation images are among the training ones, of which every study holds out some.")
    return Listing("ddr", graded, notes, faults.lines, left_out=left_out)


def _is_table(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as text:
            return _LINE.fullmatch(text.readline().strip()) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _part(table: Path, faults: DataErrors) -> list[ListedImage]:
    own = table.parent / table.stem
    folder, origin = ImageFiles.of(own if own.is_dir() else table.parent), _PARTS[table.stem]

    def listed(numbered: tuple[int, str]) -> ListedImage:
        number, text = numbered
        found = _LINE.fullmatch(text)
        where = f"{table.name}, line {number}"
        if found is None:
            raise DataError(f"{where}: {text[:80]!r} should be a file name and a grade, as in '007-0004-000.jpg 0'")
        return ListedImage(f"{origin}/{stem_of(found[1])}", found[1], found[2], origin, folder, where)

    lines = enumerate(table.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
    return faults.collect(listed, [(number, text.strip()) for number, text in lines if text.strip()])
