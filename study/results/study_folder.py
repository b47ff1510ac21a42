"""Write the folder of a study, ``results/STUDY/``. Its files and its trials' folders appear whole or not at all.

::

    study.yaml  space.yaml  workers.log
    trials/0042/{config.yaml, epochs.csv, predictions.npz, best.safetensors}
    trials/0043/{config.yaml, failure.txt}
"""

import csv
import dataclasses
import io
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from drft.config.trial_config import TrialConfig
from drft.errors import StudyError
from drft.files.atomic import whole_file, whole_folder
from drft.models.checkpoint import save_checkpoint
from drft.training.records import PARTS, EpochRecord, TrialResult

CHECKPOINT = "best.safetensors"

_ABANDONED = 60.0
"""Seconds after which a half-written folder is removed. Another running tuner needs milliseconds to finish its own."""

_DRAFT = re.compile(r"\.\d{4,}-[a-z0-9_]{8}")
"""Names of the half-written folders of trials, as :func:`drft.files.atomic.whole_folder` makes them."""

_Dumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The C implementation, if PyYAML was built with it: five times as fast."""

_FIRST_COLUMNS = ("step", "phase", "epoch")
EPOCH_COLUMNS = (
    *_FIRST_COLUMNS,
    *(field.name for field in dataclasses.fields(EpochRecord) if field.name not in _FIRST_COLUMNS),
)


def check_no_trials(folder: Path) -> None:
    """Refuse the folder of a new study that holds trials of another one: the files of both would be mixed.

    Raises:
        StudyError: when there are such trials.
    """
    if any((folder / "trials").glob("[0-9]*")):
        raise StudyError(
            f"{folder / 'trials'} holds trials of a study that its storage does not know (is study.db lost? another "
            "--storage?): restore the storage, move the folder away, or choose another name with --study"
        )


class StudyFolder:
    """Writes the files of one study."""

    def __init__(self, path: Path, classes: Sequence[str] = ()) -> None:
        self.path = path
        self.classes = classes
        """Names of the classes; empty for none in checkpoints."""
        self.trials = path / "trials"
        self._with_checkpoint: set[int] = set()

    @property
    def worker_log(self) -> Path:
        """The file for the workers' output."""
        return self.path / "workers.log"

    def trial(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.trials / f"{number:04d}"

    def write_study(self, space: str, overview: Mapping[str, Any]) -> None:
        """Write ``space.yaml`` (the text as given) and ``study.yaml``; remove the half-written folders of a crash.

        Raises:
            StudyError: when there is a file in place of the folder of the trials.
        """
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise StudyError(
                f"{self.trials} is not a folder, and the files of the trials belong there: move it away and run the "
                "same command again"
            ) from None
        for draft in self.trials.glob(".*"):
            if not _DRAFT.fullmatch(draft.name) or draft.is_symlink() or not draft.is_dir():
                continue
            with suppress(FileNotFoundError):  # another running tuner has finished its own in the meantime
                if time.time() - draft.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(draft)
        for name, content in (("space.yaml", space.encode()), ("study.yaml", _as_yaml(overview))):
            with whole_file(self.path / name) as draft:
                draft.write_bytes(content)
        _sync(self.path)

    def write_trial(self, number: int, result: TrialResult, *, checkpoint: bool) -> None:
        """Write the folder of a finished trial.

        Args:
            number: trial number.
            result: of the training.
            checkpoint: whether to store the weights of the best epoch.
        """
        with self._new_trial(number) as draft:
            _write(draft / "config.yaml", _as_yaml(result.config.model_dump(mode="json")))
            _write(draft / "epochs.csv", _epochs_csv(result.records))
            _write(draft / "predictions.npz", _predictions_npz(result))
            if checkpoint:
                classes = result.predictions["train"].probabilities.shape[-1]
                save_checkpoint(draft / CHECKPOINT, result.best_state, result.best_config, classes, self.classes)
        if checkpoint:
            self._with_checkpoint.add(number)

    def write_failure(self, number: int, config: TrialConfig, reason: str, traceback: str) -> None:
        """Write the folder of a failed trial: its configuration, the reason and the traceback."""
        with self._new_trial(number) as draft:
            _write(draft / "config.yaml", _as_yaml(config.model_dump(mode="json")))
            _write(draft / "failure.txt", f"{reason}\n\n{traceback}".strip().encode() + b"\n")

    def drop_trials(self, numbers: Collection[int]) -> None:
        """Remove the folders of trials whose result was not recorded in the storage."""
        for number in numbers:
            if self.trial(number).exists():
                shutil.rmtree(self.trial(number))

    def keep_checkpoints(self, numbers: Collection[int]) -> None:
        """Remove the checkpoints of all other trials written or found by this object; their predictions stay."""
        for number in self._with_checkpoint.difference(numbers):
            (self.trial(number) / CHECKPOINT).unlink(missing_ok=True)
            self._with_checkpoint.remove(number)

    def find_checkpoints(self) -> None:
        """Find all checkpoints in the folder, including those of earlier runs and other tuners."""
        folders = (path.parent.name for path in self.trials.glob(f"[0-9]*/{CHECKPOINT}"))
        self._with_checkpoint |= {int(name) for name in folders if name.isdecimal()}  # not a copy such as 0000-backup

    @contextmanager
    def _new_trial(self, number: int) -> Iterator[Path]:
        """Yield a hidden folder to fill; it then replaces the trial's folder, and both are flushed to disk.

        Raises:
            StudyError: when the folder of the trials is gone; a new one would hide that its files are lost.
        """
        if not self.trials.is_dir():
            raise StudyError(
                f"{self.trials} is gone: it was moved or deleted while the study ran; put it back and run the same "
                "command again, which makes a new folder if there is none"
            )
        with whole_folder(self.trial(number), replace=True) as draft:
            yield draft
            _sync(draft)
        _sync(self.trials)


def _epochs_csv(records: Sequence[EpochRecord]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EPOCH_COLUMNS)
    writer.writerows([getattr(record, column) for column in EPOCH_COLUMNS] for record in records)
    return text.getvalue().encode()


def _predictions_npz(result: TrialResult) -> bytes:
    """Return ``predictions.npz``. The test part has keys of its own, so that nobody reads it by mistake."""
    arrays: dict[str, Any] = {}
    for part in PARTS:
        name, predictions = "sealed_test" if part == "test" else part, result.predictions[part]
        arrays[f"{name}_ids"] = np.array(predictions.ids, dtype=np.str_)
        arrays[f"{name}_grades"] = predictions.grades
        arrays[f"{name}_probabilities"] = predictions.probabilities
    content = io.BytesIO()
    # Not compressed: probabilities hardly shrink, and it would take longer than all other files of a trial together.
    np.savez(content, **arrays)
    return content.getvalue()


def _as_yaml(values: Mapping[str, Any]) -> bytes:
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True).encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Flush the entries of a folder to disk; not possible on Windows, which has no O_DIRECTORY."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
