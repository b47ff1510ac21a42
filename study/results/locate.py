"""Where a study is: a name, a folder or a storage, as the user says it, becomes the place of one study."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from drft.config.trial_config import nearest
from drft.errors import StudyError
from study.storage.open import open_storage, public_url

CONFIRMATION = ".confirm"
"""The confirmation of a study is a study of its own in the same storage, under this name behind its own."""


@dataclass(frozen=True, slots=True)
class StudyLocation:
    """Where a study is: its name in the storage at ``url``, and the folder its files belong in."""

    name: str
    url: str = field(repr=False)
    """With its password, if it has one."""
    folder: Path

    def open(self) -> optuna.Study:
        """Open the Optuna study."""
        return optuna.load_study(study_name=self.name, storage=open_storage(self.url, create=False))


def find_study(study: str, results: Path = Path("results"), storage: str | None = None) -> StudyLocation:
    """Find a study.

    Args:
        study: a name under ``results``, the path of a study folder or, with ``storage``, a name in that storage.
        results: folder of studies.
        storage: URL of an Optuna storage; None for the ``study.db`` of the study's folder.

    Raises:
        StudyError: when there is no such study.
    """
    if storage is not None:
        names = _study_names(storage)
        if study not in names:
            raise StudyError(f"no study {study!r} in {public_url(storage)}: {_there_are(study, names)}")
        return StudyLocation(study, storage, results / _as_folder(study))
    folder = next((f for f in (results / study, Path(study)) if (f / "study.db").is_file()), None)
    if folder is None:
        found = sorted(path.parent.name for path in results.glob("*/study.db"))
        raise StudyError(f"no study {study!r} in {results}: {_there_are(study, found)}")
    url = f"sqlite:///{(folder / 'study.db').resolve()}"
    return StudyLocation(_only_name(url, folder), url, folder)


def _there_are(study: str, names: Iterable[str]) -> str:
    known = list(names)
    if not known:
        return "there are no studies; make one with `drft-study run`"
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    return f"there are {', '.join(known[:10])}{more}{nearest(study, known)}"


def _as_folder(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "study"


def _study_names(url: str) -> list[str]:
    """Return the studies of a storage, without their confirmations, which are found through them."""
    names = optuna.get_all_study_names(open_storage(url, create=False))
    return [name for name in names if name.removesuffix(CONFIRMATION) not in {*names} - {name}]


def _only_name(url: str, folder: Path) -> str:
    names = _study_names(url)
    if folder.resolve().name in names:
        return folder.resolve().name
    if len(names) == 1:
        return names[0]
    raise StudyError(
        f"{folder / 'study.db'} holds {len(names)} studies and none is called {folder.name!r}: "
        "name one of them with --storage"
    )
