"""Read the labels of a source for a check: wrong labels become findings instead of errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drft.data.checks.findings import Finding
from drft.data.dataset import GRADES, Origin, TestPart
from drft.data.datasets.classes import parse_class
from drft.data.datasets.csv_table import SUFFIXES
from drft.data.datasets.ddr import find_ddr
from drft.data.datasets.files import ImageFiles, files_below, leads_out
from drft.data.datasets.idrid import changed_grades
from drft.data.datasets.image_folder import find_stray_images, read_image_folder
from drft.data.datasets.labels import LabelRow, SourceLabels, links_elsewhere, repeated_rows, unused_images
from drft.data.datasets.open import is_rendered, open_dataset, path_of, read_source
from drft.data.progress import Progress
from drft.errors import DataError


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """One image with a label that was checked and a file that exists but was not opened."""

    id: str
    path: Path
    grade: int | None
    """None where there is no label table, or its grade is wrong."""
    origin: Origin
    group: str
    others: Mapping[str, str] = field(default_factory=dict)
    """Cells of all other columns."""


@dataclass(frozen=True, slots=True)
class CheckedLabels:
    """All images of a source, and the findings on their labels."""

    name: str
    named: int
    """Lines of the label tables, or files where there is no table."""
    rows: tuple[CheckedRow, ...]
    findings: tuple[Finding, ...]
    grades: tuple[str, ...] = GRADES
    rendered: bool = False
    ordinal: bool = True
    columns: Mapping[str, str] = field(default_factory=dict)
    """The columns of a table by role."""
    test_part: TestPart | None = None
    """The test part that a study would hold out."""


def read_labels(
    source: str, options: Mapping[str, str], cache_dir: Path | None = None, progress: Progress | None = None
) -> CheckedLabels:
    """Read the labels of a source; a folder of images without labels is accepted.

    Raises:
        DataError: when there is no such source, or it or its tables cannot be read at all.
    """
    if is_rendered(source):
        dataset = open_dataset(source, options=options, cache_dir=cache_dir, progress=progress)
        rows = tuple(
            CheckedRow(image.id, image.path, image.grade, image.origin, image.group) for image in dataset.images
        )
        return CheckedLabels(dataset.name, len(rows), rows, (), dataset.grades, rendered=True)
    folder = path_of(source)
    try:
        images = _unlabelled_images(folder) if folder.is_dir() else ()
    except OSError as error:
        raise DataError(f"{source} cannot be opened ({error}): check the path and its permissions") from error
    if images:
        rows = tuple(CheckedRow(name, path, None, "train", name) for name, path in images)
        notes = ["There is no label table here: only the files were checked."]
        if stray := find_stray_images(folder):
            notes.append(f"{stray}.")
        return CheckedLabels(folder.name, len(rows), rows, tuple(Finding("note", "source", note) for note in notes))
    return _check_labels(read_source(source, options, cache_dir))


def _unlabelled_images(folder: Path) -> Sequence[tuple[str, Path]]:
    """Return names and paths of the images in a folder without labels; empty when it has labels."""
    files = list(files_below(folder))
    if any(file.suffix.lower() in SUFFIXES for file in files) or find_ddr(files) or read_image_folder(folder):
        return ()
    return [(file.relative_to(folder).as_posix(), file) for file in ImageFiles.of(folder).files]


def _check_labels(labels: SourceLabels) -> CheckedLabels:
    findings = [
        *(Finding("defect", "bad line", fault) for fault in labels.faults),
        *(Finding("defect", "repeated line", fault) for fault in repeated_rows(labels.rows)),
        *_source_findings(labels),
    ]
    rows: dict[str, CheckedRow] = {}
    for label_row in labels.rows:
        row, faults = _check_row(label_row, labels.grades)
        findings += faults
        if row is not None:
            rows.setdefault(row.id, row)
    used = {row.path for row in rows.values()}
    findings += [Finding("note", "unlisted files", note) for note in unused_images(labels, used)]
    findings += [Finding("note", "links elsewhere", note) for note in links_elsewhere(labels)]
    named = len(labels.rows) + len(labels.faults)
    return CheckedLabels(
        labels.name,
        named,
        tuple(rows.values()),
        tuple(findings),
        labels.grades,
        ordinal=labels.ordinal,
        columns=labels.columns,
        test_part=labels.test_part,
    )


def _source_findings(labels: SourceLabels) -> list[Finding]:
    """Return the notes of a source, and the grades of IDRiD that differ on Kaggle, one finding each."""
    notes = list(labels.notes)
    changed = []
    if labels.name == "idrid-kaggle":
        changed = [
            Finding(
                "defect",
                "changed grade",
                f"{row.id} has grade {row.grade} in the Kaggle table and officially {official}: "
                "use the official one with --labels official.",
                (row.id,),
            )
            for row, official in changed_grades(labels.rows)
        ]
        copy = "This is the copy of IDRiD on Kaggle: 455 of its 516 images in one folder; official parts are kept."
        notes = [copy, *([] if changed else notes)]  # the source's note on them would repeat the findings
    return [*changed, *(Finding("note", "source", note) for note in notes)]


def _check_row(row: LabelRow, grades: Sequence[str]) -> tuple[CheckedRow | None, list[Finding]]:
    findings = []

    def add(kind: str, error: DataError) -> None:
        findings.append(Finding("defect", kind, f"{row.location}: {error.faults[0]}.", (row.id,)))

    grade = None
    try:
        grade = parse_class(row.grade if row.relabelled is None else row.relabelled, grades)
    except DataError as error:
        add("bad label", error)
    try:
        path = row.folder.find(row.name)
    except DataError as error:
        add("name leads out" if leads_out(row.name) else "missing file", error)
        return None, findings
    return CheckedRow(row.id, path, grade, row.origin, row.group or row.id, row.others), findings
