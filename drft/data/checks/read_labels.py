"""What a source claims of its images, with whatever is wrong with the claims taken down and left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drft.data.checks.findings import Finding
from drft.data.dataset import GRADES, Origin
from drft.data.datasets.ddr import find_ddr
from drft.data.datasets.files import ImageFiles, files_below, leads_out
from drft.data.datasets.idrid import changed_grades
from drft.data.datasets.image_folder import list_classes
from drft.data.datasets.listing import ListedImage, Listing, parse_grade, repeated, unlisted
from drft.data.datasets.open import is_rendered, list_source, open_dataset, path_of
from drft.data.progress import Progress
from drft.errors import DataError


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One image as it is claimed to be; its file has not been opened."""

    id: str
    path: Path
    grade: int | None
    """None where there is no label table, or its grade is none."""
    origin: Origin
    group: str
    others: Mapping[str, str] = field(default_factory=dict)
    """Cells of the columns that say none of these."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """All images of a source, as claimed."""

    name: str
    listed: int
    """Lines of the label tables, or files where there is none."""
    claims: tuple[LabelRow, ...]
    findings: tuple[Finding, ...]
    grades: tuple[str, ...] = GRADES
    rendered: bool = False


def read_claims(
    source: str, options: Mapping[str, str], cache_dir: Path | None = None, progress: Progress | None = None
) -> LabelTable:
    """Read the label tables of a source; a folder of images without one is taken as it is.

    Raises:
        DataError: when there is no such source, or nothing can be made of its tables.
    """
    if is_rendered(source):
        dataset = open_dataset(source, options=options, cache_dir=cache_dir, progress=progress)
        claims = tuple(LabelRow(p.id, p.path, p.grade, p.origin, p.group) for p in dataset.images)
        return LabelTable(dataset.name, len(claims), claims, (), dataset.grades, rendered=True)
    folder = path_of(source)
    if folder.is_dir() and (images := _images_alone(folder)):
        claims = tuple(LabelRow(name, path, None, "train", name) for name, path in images)
        note = "There is no label table here: only the files were checked."
        return LabelTable(folder.name, len(claims), claims, (Finding("note", "source", note),))
    return _checked_claims(list_source(source, options, cache_dir))


def _images_alone(folder: Path) -> Sequence[tuple[str, Path]]:
    """Return names and paths of the images in a folder that has no labels."""
    files = list(files_below(folder))
    if any(file.suffix.lower() == ".csv" for file in files) or find_ddr(files) or list_classes(folder):
        return ()
    return [(file.relative_to(folder).as_posix(), file) for file in ImageFiles.of(folder).files]


def _checked_claims(listing: Listing) -> LabelTable:
    changed = [
        Finding(
            "defect",
            "changed grade",
            f"{line.id} has grade {line.grade} in the Kaggle table and officially {official}: "
            "--labels official puts it right.",
            (line.id,),
        )
        for line, official in (changed_grades(listing.lines) if listing.name == "idrid-kaggle" else ())
    ]
    findings = [
        *(Finding("defect", "bad line", fault) for fault in listing.faults),
        *(Finding("defect", "repeated line", fault) for fault in repeated(listing.lines)),
        *changed,
        *(Finding("note", "source", note) for note in _notes(listing, told=bool(changed))),
    ]
    claims: dict[str, LabelRow] = {}
    for line in listing.lines:
        claim, wrong = _checked_claim(line, listing.grades)
        findings += wrong
        if claim is not None:
            claims.setdefault(claim.id, claim)
    used = {claim.path for claim in claims.values()}
    findings += [Finding("note", "unlisted files", note) for note in unlisted(listing, used)]
    listed = len(listing.lines) + len(listing.faults)
    return LabelTable(listing.name, listed, tuple(claims.values()), tuple(findings), listing.grades)


def _notes(listing: Listing, *, told: bool) -> Iterator[str]:
    """Yield what is remarkable of a source; ``told`` when its changed grades are findings of their own."""
    if listing.name == "idrid-kaggle":
        yield "This is IDRiD as re-hosted on Kaggle: 455 of its 516 images in one folder; official parts are kept."
    if not told:
        yield from listing.notes


def _checked_claim(line: ListedImage, grades: Sequence[str]) -> tuple[LabelRow | None, list[Finding]]:
    findings = []
    path, grade = None, None
    try:
        grade = parse_grade(line.grade, grades)
    except DataError as error:
        findings.append(_finding("bad grade", line, error))
    try:
        path = line.folder.find(line.name)
    except DataError as error:
        findings.append(_finding("name leads out" if leads_out(line.name) else "missing file", line, error))
    if path is None:
        return None, findings
    return LabelRow(line.id, path, grade, line.origin, line.group or line.id, line.others), findings


def _finding(kind: str, line: ListedImage, error: DataError) -> Finding:
    return Finding("defect", kind, f"{line.where}: {error.faults[0]}.", (line.id,))
