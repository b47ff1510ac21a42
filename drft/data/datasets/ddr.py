"""DDR (Li et al. 2019) as published: ``train.txt``, ``valid.txt`` and ``test.txt`` next to folders of those names.

Each line names an image and its grade, ``007-0004-000.jpg 0``; grade 5 marks images that cannot be graded. Other data
sets have such files too, so that the names in ``train.txt`` tell whether it is DDR.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from drft.data.dataset import Origin
from drft.data.datasets.faults import DataErrors
from drft.data.datasets.files import ImageFiles, stem_of
from drft.data.datasets.labels import LabelRow, SourceLabels
from drft.errors import DataError

_PARTS: Mapping[str, Origin] = {"train": "train", "valid": "train", "test": "test"}
_LINE = re.compile(r"(\S+\.(?:jpe?g|png)) +(\d+)", re.IGNORECASE)
_NAME = re.compile(r"\d{3}-\d{4}-\d{3}|\d{17}")
"""Names of DDR's images without suffix: ``007-0004-000``, or the time when the image was taken."""
_UNGRADABLE = "5"


def find_ddr(files: Sequence[Path]) -> list[Path]:
    """Return DDR's label files among the files of a folder; empty when there are none.

    Raises:
        DataError: when there are several copies of DDR.
    """
    tables = [file for file in files if file.suffix == ".txt" and file.stem in _PARTS and _is_label_file(file)]
    training = [table for table in tables if table.stem == "train" and _has_names_of_ddr(table)]
    if len(training) > 1:
        copies = " and ".join(map(str, training[:2]))
        raise DataError(f"{copies} are two copies of DDR: name the folder of one of them")
    return [table for table in tables if training and table.parent == training[0].parent]


def read_ddr(tables: Sequence[Path]) -> SourceLabels:
    """Read the labels in DDR's label files."""
    faults = DataErrors()
    rows = [row for table in tables for row in _read_part(table, faults)]
    graded = [row for row in rows if row.grade != _UNGRADABLE]
    left_out = [row for row in rows if row.grade == _UNGRADABLE]
    notes = []
    if left_out:
        notes.append(f"{len(left_out)} images of grade 5 are left out: they cannot be graded.")
    if any(table.stem == "valid" for table in tables):
        notes.append("DDR's own validation images are used for training; each study makes its own validation part.")
    return SourceLabels("ddr", graded, notes, faults.lines, left_out=left_out)


def _is_label_file(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as text:
            return _LINE.fullmatch(text.readline().strip()) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _has_names_of_ddr(table: Path) -> bool:
    with table.open(encoding="utf-8", errors="replace") as lines:
        matches = (_LINE.fullmatch(line.strip()) for line in lines)
        return any(match is not None and _NAME.fullmatch(stem_of(match[1])) for match in matches)


def _read_part(table: Path, faults: DataErrors) -> list[LabelRow]:
    image_folder = table.parent / table.stem
    images = ImageFiles.of(image_folder if image_folder.is_dir() else table.parent)
    origin = _PARTS[table.stem]

    def label_row(numbered: tuple[int, str]) -> LabelRow:
        number, text = numbered
        match = _LINE.fullmatch(text)
        location = f"{table.name}, line {number}"
        if match is None:
            raise DataError(f"{location}: {text[:80]!r} should be a file name and a grade, as in '007-0004-000.jpg 0'")
        return LabelRow(f"{origin}/{stem_of(match[1])}", match[1], match[2], origin, images, location)

    lines = enumerate(table.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
    return faults.collect(label_row, [(number, text.strip()) for number, text in lines if text.strip()])
