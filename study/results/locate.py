"""Find a study by its name, its folder or its storage."""

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from drft.config.trial_config import nearest
from drft.errors import StudyError
from study.storage.open import open_storage, public_url

CONFIRMATION = ".confirm"
"""Suffix of a confirmation: it is a study of its own in the same storage, named after the study it confirms."""

FINALISTS = ".finalists"
"""Suffix of a study's finalists, likewise."""


@dataclass(frozen=True, slots=True)
class StudyLocation:
    """The storage that holds a study, the name of the study in it, and the folder of its files."""

    name: str
    url: str = field(repr=False)
    """With its password, if it has one."""
    folder: Path

    def open(self) -> optuna.Study:
        """Open the Optuna study."""
        return optuna.load_study(study_name=self.name, storage=open_storage(self.url, create=False))


def find_study(study: str | Path, results: Path | str = Path("results"), storage: str | None = None) -> StudyLocation:
    """Find a study.

    Args:
        study: a name under ``results``, the path of a study folder or, with ``storage``, a name in that storage.
        results: folder of studies.
        storage: URL of an Optuna storage; None for the ``study.db`` of the study's folder.

    Raises:
        StudyError: when there is no such study.
    """
    study, results = str(study), Path(results)
    if storage is not None:
        names = _study_names(storage)
        if study not in names:
            raise StudyError(f"no study {study!r} in {public_url(storage)}: {_existing(study, names)}")
        folder_name = re.sub(r"[^\w.-]+", "_", study).strip(".") or "study"
        return StudyLocation(study, storage, results / folder_name)
    try:
        return _find_by_folder(study, results)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise StudyError(
            f"no study {study!r} in {results}: this name or path is longer than the system allows; choose a shorter one"
        ) from None


def _find_by_folder(study: str, results: Path) -> StudyLocation:
    folder = next((path for path in (results / study, Path(study)) if (path / "study.db").is_file()), None)
    if folder is None:
        names = sorted(path.parent.name for path in results.glob("*/study.db"))
        lost = next((path for path in (results / study, Path(study)) if (path / "trials").is_dir()), None)
        if lost is not None:
            raise StudyError(
                f"{lost} has no study.db, which holds the study: restore it from a backup, or name the storage with "
                "--storage"
            )
        raise StudyError(f"no study {study!r} in {results}: {_existing(study, names)}")
    url = f"sqlite:///{(folder / 'study.db').resolve()}"
    return StudyLocation(_study_name_in(folder, url), url, folder)


def _existing(study: str, names: Iterable[str]) -> str:
    """Return the part of an error that lists the existing studies and the nearest name."""
    known = list(names)
    if not known:
        return "there are no studies; make one with `drft-study run`"
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    return f"there are {', '.join(known[:10])}{more}{nearest(study, known)}"


def _study_names(url: str) -> list[str]:
    """Return the studies of a storage, without their planned parts: these are reached through the study."""
    names = optuna.get_all_study_names(open_storage(url, create=False))
    parts = {f"{name}{suffix}" for name in names for suffix in (CONFIRMATION, FINALISTS)}
    return [name for name in names if name not in parts]


def _study_name_in(folder: Path, url: str) -> str:
    """Return the study of a folder: the one of the folder's name, or the only one (a folder may be renamed)."""
    names = _study_names(url)
    if folder.resolve().name in names:
        return folder.resolve().name
    if len(names) == 1:
        return names[0]
    if not names:
        raise StudyError(f"{folder / 'study.db'} holds no study: run the command of the study again")
    raise StudyError(
        f"{folder / 'study.db'} holds {len(names)} studies, none of them named {folder.name!r}: "
        f"name one of them and pass --storage {url}"
    )
