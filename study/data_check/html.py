"""The check of a data source as one self-contained page, with the images of its findings."""

from collections.abc import Iterator

from PIL import Image

from drft.data.checks import Finding, SourceCheck
from drft.data.images import decode
from drft.errors import DataError
from study.data_check.text import (
    count_rows,
    findings_by_kind,
    headings,
    noise_words,
    opening_words,
    twin_words,
    verdict,
)
from study.report.chapters import Chapter, ImageGallery, Part, Table, Text
from study.report.page import environment
from study.report.thumbnails import SIDE, Thumbnails, data_uri

_MOST_SHOWN = 40
"""Findings of one kind that are shown with their images: an image takes about 5 kB."""

_COUNTS_CAPTION = "Images by part and class, as published and as a study divides them by default."


def check_page(check: SourceCheck) -> str:
    """Return one HTML page that needs no network."""
    images = _images(check)
    tiles = [
        (str(check.named), "images listed"),
        (str(len(check.files)), "of them have a readable file"),
        (str(len(check.defects)), "defects to fix"),
        (str(len(check.findings) - len(check.defects)), "notes"),
    ]
    table = Table("Images by part and class", _COUNTS_CAPTION, headings(check), count_rows(check))
    texts = [Text(text) for text in (noise_words(check), twin_words(check)) if text]
    chapters = [Chapter("images", "Images", "Images", (table, *texts))]
    for number, findings in enumerate(findings_by_kind(check.findings)):
        kind = findings[0].kind
        heading = f"{kind[0].upper()}{kind[1:]} ({len(findings)})"
        chapters.append(Chapter(f"kind-{number}", heading, heading, tuple(_parts(findings, images))))
    return (
        environment()
        .get_template("data_check.html")
        .render(
            name=check.name,
            source=check.source,
            rendered=check.rendered,
            summary=f"{opening_words(check)}. {verdict(check)}.",
            tiles=tiles,
            chapters=chapters,
            thumbnails=Thumbnails(images),
        )
    )


def _parts(findings: list[Finding], images: dict[str, str]) -> Iterator[Part]:
    defect = findings[0].severity == "defect"
    yield Text("Defects: they distort results until they are fixed." if defect else "No action is needed.", hint=True)
    for number, finding in enumerate(findings):
        yield Text(finding.text)
        entries = [(name, "") for name in finding.ids if name in images]
        if entries and number < _MOST_SHOWN:
            yield ImageGallery("Images of this finding", entries)
    if len(findings) > _MOST_SHOWN:
        yield Text(f"The last {len(findings) - _MOST_SHOWN} are listed without their images.", hint=True)


def _images(check: SourceCheck) -> dict[str, str]:
    """Return small copies of the images to show, as data URIs by id."""
    shown = [finding for findings in findings_by_kind(check.findings) for finding in findings[:_MOST_SHOWN]]
    images = {}
    for name in dict.fromkeys(name for finding in shown for name in finding.ids):
        if name in check.files:
            try:
                images[name] = data_uri(Image.fromarray(decode(check.files[name], SIDE)))
            except DataError:  # the file was changed after the check
                continue
    return images
