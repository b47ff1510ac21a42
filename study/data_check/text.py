"""A check of a data source in words and in rows: for the terminal, the page and the JSON file alike."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from drft.data.checks import Finding, SourceCheck
from study.analysis.noise import detectable_difference

DISCORDANCES = (0.5, 0.2)
"""Shares of the validation images on which exactly one of two trainings is right. Half is the most that trainings
with independent errors come to; a fifth is what similar ones come to."""

_MOST_TOLD = 12
"""Findings of one kind that are spelled out on a terminal."""


class DetectableDifference(NamedTuple):
    """What the planned validation part can show."""

    n_images: int
    discordance: float
    difference: float
    """Smallest true difference in accuracy that a two-sided 5 % test (McNemar's) finds with 80 % power."""


def detectable(check: SourceCheck) -> tuple[DetectableDifference, ...]:
    """Return what differences between two trainings the planned split can show."""
    if check.planned is None:
        return ()
    n = sum(check.planned.validation)
    return tuple(DetectableDifference(n, share, detectable_difference(n, share)) for share in DISCORDANCES)


def headings(check: SourceCheck) -> tuple[str, ...]:
    """Return the headings of ``count_rows``."""
    return ("part", *check.grades, "all")


def count_rows(check: SourceCheck) -> list[tuple[str, ...]]:
    """Return the images by part and grade: as published, and as a study divides them."""
    parts = {f"published as {origin}": counts for origin, counts in check.counts.items()}
    if check.planned is not None:
        planned = check.planned
        parts |= {
            "to train on": planned.train,
            "to validate on": planned.validation,
            "sealed for the test": planned.test,
        }
    return [(name, *map(str, counts), str(sum(counts))) for name, counts in parts.items()]


def opening_words(check: SourceCheck) -> str:
    """Say what was checked."""
    sizes = list(check.sizes)
    size = f", {sizes[0]} pixels" if len(sizes) == 1 else f", {len(sizes)} sizes" if sizes else ""
    return (
        f"{check.name}: {check.named} images named, {len(check.files)} with a sound file{size}, "
        f"{len(check.images)} of them graded"
    )


def verdict(check: SourceCheck) -> str:
    """Say how many defects and notes there are."""
    defects, notes = len(check.defects), len(check.findings) - len(check.defects)
    return f"{_counted(defects, 'defect')}, {_counted(notes, 'note')}"


def noise_words(check: SourceCheck) -> str:
    """Say what the planned split can show; empty where there is none."""
    found = detectable(check)
    if not found:
        return ""
    cases = " and ".join(
        f"{100 * each.difference:.0f} points where they disagree on {each.discordance:.0%} of them" for each in found
    )
    return (
        f"With {found[0].n_images} validation images, the smallest difference in accuracy between two trainings "
        f"that can be shown (80% power, two-sided 5% test) is {cases}."
    )


def twin_words(check: SourceCheck) -> str:
    """Say how many pairs there are, and how many looked alike at first."""
    same = sum(twin.how == "the same file" for twin in check.duplicates)
    alike = _counted(len(check.duplicates) - same, "pair")
    return (
        f"Duplicates: {_counted(same, 'pair')} of the same file, {alike} of the same image in another file "
        f"(of {check.compared} that looked alike at first)."
    )


def kinds(findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """Return the first finding of each kind, with how many there are of it."""
    counts = Counter((finding.severity, finding.kind) for finding in findings)
    firsts = {(finding.severity, finding.kind): finding for finding in reversed(findings)}
    return [(firsts[key], count) for key, count in counts.items()]


def finding_lines(check: SourceCheck) -> Iterator[str]:
    """Yield the findings, one line each, defects first; of many of one kind only the first."""
    for first, count in kinds(check.findings):
        same = [
            finding for finding in check.findings if (finding.severity, finding.kind) == (first.severity, first.kind)
        ]
        yield from (f"{finding.severity}: {finding.kind}: {finding.text}" for finding in same[:_MOST_TOLD])
        if count > _MOST_TOLD:
            yield f"{first.severity}: {first.kind}: ... and {count - _MOST_TOLD} more; --json and --html name them all"


def as_json(check: SourceCheck) -> str:
    """Return everything that was found, for programs."""
    twins = [asdict(twin) | {"conflict": twin.conflict} for twin in check.duplicates]
    document: dict[str, Any] = {
        "source": check.source,
        "name": check.name,
        "rendered": check.rendered,
        "photographs": {"named": check.named, "sound": len(check.files), "graded": len(check.images)},
        "grades": list(check.grades),
        "counts": dict(check.counts),
        "sizes": dict(check.sizes),
        "planned": None if check.planned is None else asdict(check.planned),
        "detectable": [each._asdict() for each in detectable(check)],
        "duplicates": {"compared": check.compared, "pairs": twins},
        "defects": len(check.defects),
        "findings": [asdict(finding) for finding in check.findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
