"""A check of a data source as one self-contained page, with the images that its findings concern."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from drft.data.checks import Finding, SourceCheck
from drft.data.images import decode
from drft.errors import DataError
from study.data_check.text import count_rows, headings, kinds, noise_words, opening_words, twin_words, verdict
from study.report.page import DISCLAIMER, RENDERED, environment
from study.report.thumbnails import SIDE, data_uri

_MOST_SHOWN = 40
"""Findings of one kind that are shown with their images: an image takes about 5 kB."""


class ShownFinding(NamedTuple):
    """One finding on the page."""

    text: str
    images: tuple[tuple[str, str], ...]
    """Ids and data URIs; empty where there is nothing to see."""


class FindingSection(NamedTuple):
    """The findings of one kind."""

    id: str
    heading: str
    severity: str
    findings: tuple[ShownFinding, ...]
    unseen: int
    """Findings that are told without their images."""


def check_page(check: SourceCheck) -> str:
    """Return one HTML page that needs no network."""
    tiles = [
        (str(check.named), "images named"),
        (str(len(check.files)), "of them have a sound file"),
        (str(len(check.defects)), "defects: to be mended"),
        (str(len(check.findings) - len(check.defects)), "notes: good to know"),
    ]
    return (
        environment()
        .get_template("data_check.html")
        .render(
            name=check.name,
            source=check.source,
            banner=RENDERED if check.rendered else "",
            summary=f"{opening_words(check)}. {verdict(check)}.",
            tiles=tiles,
            headings=headings(check),
            rows=count_rows(check),
            words=[words for words in (noise_words(check), twin_words(check)) if words],
            sections=_sections(check),
            side=SIDE,
            disclaimer=DISCLAIMER,
        )
    )


def _sections(check: SourceCheck) -> list[FindingSection]:
    images: dict[str, str] = {}
    return [_section(number, first, check, images) for number, (first, _) in enumerate(kinds(check.findings))]


def _section(number: int, first: Finding, check: SourceCheck, images: dict[str, str]) -> FindingSection:
    same = [finding for finding in check.findings if (finding.severity, finding.kind) == (first.severity, first.kind)]
    shown = [ShownFinding(finding.text, _images(finding.ids, check, images)) for finding in same[:_MOST_SHOWN]]
    told = [ShownFinding(finding.text, ()) for finding in same[_MOST_SHOWN:]]
    heading = f"{first.kind[0].upper()}{first.kind[1:]} ({len(same)})"
    return FindingSection(f"kind-{number}", heading, first.severity, (*shown, *told), len(told))


def _images(ids: Sequence[str], check: SourceCheck, images: dict[str, str]) -> tuple[tuple[str, str], ...]:
    for name in ids:
        if name in check.files and name not in images:
            try:
                images[name] = data_uri(Image.fromarray(decode(check.files[name], SIDE)))
            except DataError:  # the file went bad since it was checked
                images[name] = ""
    return tuple((name, images[name]) for name in ids if images.get(name))
