"""The check of a data source as text, table rows and JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from drft.data.checks import Finding, SourceCheck
from study.analysis.noise import detectable_difference
from study.results.progress import counted

DISCORDANCES = (0.5, 0.2)
"""Shares of the validation images on which exactly one of two trainings is right. Half is the highest share for
trainings with independent errors; a fifth is typical of similar trainings."""

_MOST_LISTED = 12
"""Findings of one kind that are listed on a terminal."""


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
    """Return the images by part and class: as published, and as a study divides them."""
    parts = {f"published as {origin}": counts for origin, counts in check.counts.items()}
    if check.planned is not None:
        planned = check.planned
        parts |= {
            "to train on": planned.train,
            "to validate on": planned.validation,
            "held out for the test": planned.test,
        }
    return [(name, *map(str, counts), str(sum(counts))) for name, counts in parts.items()]


def opening_words(check: SourceCheck) -> str:
    """Return what was checked."""
    sizes = list(check.sizes)
    size = f", {sizes[0]} pixels" if len(sizes) == 1 else f", {len(sizes)} sizes" if sizes else ""
    return (
        f"{check.name}: {check.named} images listed, {len(check.files)} with a readable file{size}, "
        f"{len(check.images)} of them labelled"
    )


def label_words(check: SourceCheck) -> str:
    """Return which columns were taken for what, and whether the classes are ordered; empty without labels."""
    if not check.images:
        return ""
    roles = [f"{role} = {column}" for role, column in check.columns.items()]
    groups = len({image.group for image in check.images})
    if "group" in check.columns:
        roles = [f"{role} ({counted(groups, 'group')})" if role.startswith("group =") else role for role in roles]
    classes = f"{len(check.grades)} {'ordered' if check.ordinal else 'unordered'} classes"
    return f"{', '.join(roles)}; {classes}" if roles else classes


def verdict(check: SourceCheck) -> str:
    """Return how many defects and notes there are."""
    defects, notes = len(check.defects), len(check.findings) - len(check.defects)
    return f"{counted(defects, 'defect')}, {counted(notes, 'note')}"


def noise_words(check: SourceCheck) -> str:
    """Return what the planned split can show; empty if there is none."""
    differences = detectable(check)
    if not differences:
        return ""
    cases = " and ".join(
        f"{100 * row.difference:.0f} points where they disagree on {row.discordance:.0%} of them" for row in differences
    )
    return (
        f"With {differences[0].n_images} validation images, the smallest difference in accuracy between two trainings "
        f"that can be shown (80% power, two-sided 5% test) is {cases}."
    )


def twin_words(check: SourceCheck) -> str:
    """Return how many pairs of duplicates there are, and how many pairs were compared."""
    same = sum(twin.how == "the same file" for twin in check.duplicates)
    alike = counted(len(check.duplicates) - same, "pair")
    return (
        f"Duplicates: {counted(same, 'pair')} of the same file, {alike} of the same image in another file "
        f"(of {check.compared} that looked alike at first)."
    )


def findings_by_kind(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return the findings in groups of one kind and severity, in the order of their first finding."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return list(groups.values())


def finding_lines(check: SourceCheck) -> Iterator[str]:
    """Yield the findings, one line each; of many findings of one kind only the first."""
    for findings in findings_by_kind(check.findings):
        label = f"{findings[0].severity}: {findings[0].kind}"
        yield from (f"{label}: {finding.text}" for finding in findings[:_MOST_LISTED])
        if len(findings) > _MOST_LISTED:
            yield f"{label}: ... and {len(findings) - _MOST_LISTED} more; --json and --html list them all"


def as_json(check: SourceCheck) -> str:
    """Return all findings as JSON."""
    twins = [asdict(twin) | {"conflict": twin.conflict} for twin in check.duplicates]
    document: dict[str, Any] = {
        "source": check.source,
        "name": check.name,
        "rendered": check.rendered,
        # The key "photographs" is that of version 0.1.
        "photographs": {"named": check.named, "sound": len(check.files), "graded": len(check.images)},
        "grades": list(check.grades),
        "ordinal": check.ordinal,
        "columns": dict(check.columns),
        "counts": dict(check.counts),
        "sizes": dict(check.sizes),
        "planned": None if check.planned is None else asdict(check.planned),
        "detectable": [row._asdict() for row in detectable(check)],
        "duplicates": {"compared": check.compared, "pairs": twins},
        "defects": len(check.defects),
        "findings": [asdict(finding) for finding in check.findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
