"""When and by which study the test images of a data set were opened.

A study records its own opening in its storage, so that a copy of the study says so too. A file beside the studies lists
the openings of all of them by the fingerprints of the data set and of its test images, so that other studies of the
same test images know: also those on corrected labels, since corrections rely on trainings.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from drft.errors import StudyError
from study.results.confirmation_plan import ConfirmationPlan
from study.results.locate import StudyLocation
from study.results.planned_study import read_planned_study
from study.results.predictions_file import name_damage
from study.results.study_results import StudyResults
from study.results.test_set import confirmation_location
from study.storage.open import open_storage, storage_exists

FILE = "test_set_openings.jsonl"
"""The list, in the folder of the studies: one JSON object per line."""

ATTRIBUTE = "test_set_opened"
"""User attribute of a study: date and time of its opening, in ISO 8601."""


class Opening(NamedTuple):
    """One study opened the test images."""

    study: str
    opened: str
    """Date and time, in ISO 8601."""

    def before(self, moment: datetime | None) -> bool:
        """Return whether it was before a moment of local time, as Optuna records it; not before None."""
        return moment is not None and self.moment < moment.astimezone()

    @property
    def moment(self) -> datetime:
        """Date and time in UTC; where none is written, the time zone is the local one."""
        return datetime.fromisoformat(self.opened).astimezone(UTC)


def record_opening(location: StudyLocation, dataset: Mapping[str, Any]) -> Opening:
    """Record that a study opens the test images now, unless it did before.

    Args:
        location: of the study.
        dataset: what the study recorded of its data set.

    Returns:
        Its opening, which is the first one.

    Raises:
        StudyError: when the list cannot be written.
    """
    own = own_opening(location) or Opening(location.name, datetime.now(UTC).isoformat())
    location.open().set_user_attr(ATTRIBUTE, own.opened)
    path = location.folder.parent / FILE
    if own in _listed(path, dataset):
        return own
    line = json.dumps({**own._asdict(), **_fingerprints(dataset)}, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; the test set stays closed") from None
    return own


def find_openings(location: StudyLocation, dataset: Mapping[str, Any]) -> tuple[Opening, ...]:
    """Return the openings of the test images of a study's data set, earliest first.

    Args:
        location: of the study, which need not exist yet.
        dataset: what the study records of its data set.
    """
    own = own_opening(location)
    found = {*_listed(location.folder.parent / FILE, dataset), *([own] if own else [])}
    return tuple(sorted(found, key=lambda opening: (opening.moment, opening.study)))


def openings_of(results: StudyResults) -> tuple[Opening, ...]:
    """Return the openings of the test images of a study that was read."""
    return find_openings(results.location, results.info.dataset)


def own_opening(location: StudyLocation) -> Opening | None:
    """Return when a study opened its test images, from its storage; None if it did not, or does not exist.

    Studies of older versions did so by a finished confirmation and recorded nothing else. What cannot be read is named.
    """
    if not storage_exists(location.url):
        return None
    storage = open_storage(location.url, create=False)
    if location.name not in optuna.get_all_study_names(storage):
        return None
    recorded = optuna.load_study(study_name=location.name, storage=storage).user_attrs.get(ATTRIBUTE)
    if recorded is not None:
        try:
            return _opening(location.name, recorded)
        except (ValueError, TypeError):
            name_damage(f"attribute {ATTRIBUTE!r} of study {location.name!r} is no date: it is left out")
    try:
        confirmation = read_planned_study(confirmation_location(location), ConfirmationPlan)
    except StudyError as error:
        name_damage(str(error))
        return None
    if confirmation is None or not confirmation.finished or confirmation.results.info.finished is None:
        return None
    return Opening(location.name, confirmation.results.info.finished.astimezone(UTC).isoformat())


def openings_text(openings: Sequence[Opening]) -> str:
    """Return who opened the test images, as "opened on 2026-11-26 by study x"; there is at least one."""
    return f"opened {' and '.join(f'on {opening.opened[:10]} by study {opening.study}' for opening in openings)}"


def _opening(study: str, opened: str) -> Opening:
    """Return an opening; raises ValueError or TypeError if its date is none."""
    datetime.fromisoformat(opened)
    return Opening(str(study), opened)


def _fingerprints(dataset: Mapping[str, Any]) -> dict[str, str]:
    """Return the recorded fingerprints of a data set; older versions did not record that of its test images."""
    return {name: str(dataset[name]) for name in ("fingerprint", "test_fingerprint") if dataset.get(name)}


def _listed(path: Path, dataset: Mapping[str, Any]) -> list[Opening]:
    """Read the openings of a data set from the list; a line that cannot be read is named and left out."""
    wanted = {*_fingerprints(dataset).values()}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StudyError(f"cannot read {path}, which lists who opened the test images: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            if wanted & {values["fingerprint"], values.get("test_fingerprint")}:
                found.append(_opening(values["study"], values["opened"]))
        except (ValueError, KeyError, TypeError):
            name_damage(f"line {number} of {path}, which lists who opened the test images, is damaged: it is left out")
    return found
