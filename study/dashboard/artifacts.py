"""What a trial's folder holds, as artifacts for Optuna's dashboard: nothing is copied, recorded or written.

An artifact's id is ``STUDY-TRIAL-PIECE``, three hexadecimal numbers: the place of the study among those shown, the
trial, and the place in :data:`PIECES`. No id can lead anywhere but to these files in a trial's folder. What is listed
is what is there: checkpoints come and go with the ranking of the trials.

The test part of the predictions stays sealed: only what follows from their validation part is shown.
"""

import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from optuna.artifacts.exceptions import ArtifactNotFound

from drft.config.trial_config import Metric
from study.dashboard.multi_storage import Metadata
from study.dashboard.svg import confusion_svg, curves_svg
from study.results.locate import StudyLocation
from study.results.metric_names import epoch_scores
from study.results.study_folder import CHECKPOINT
from study.results.study_results import read_predictions

_ID = re.compile(r"([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """A trial on disk, and what its images are labelled with."""

    path: Path
    number: int
    metric: Metric
    grades: Sequence[str]


@dataclass(frozen=True, slots=True)
class ArtifactKind:
    """One kind of artifact."""

    filename: str
    mimetype: str
    needs: tuple[str, ...]
    """Files of the trial it is made from."""
    draw: Callable[[TrialFolder], str] | None = None
    """Draws it when it is asked for; None for a file as it is."""


def _curves(trial: TrialFolder) -> str:
    epochs = pd.read_csv(trial.path / "epochs.csv")
    return curves_svg(epochs, best=_best_step(trial, epochs), title=f"Trial {trial.number}: accuracy, step by step")


def _confusion(trial: TrialFolder) -> str:
    step = _best_step(trial, pd.read_csv(trial.path / "epochs.csv"))
    predictions = read_predictions(trial.path, "validation")
    predicted = predictions.probabilities[step - 1].argmax(axis=-1)
    heading = f"Trial {trial.number}, step {step}: {len(predicted)} validation images"
    return confusion_svg(predictions.grades, predicted, trial.grades, title=heading)


def _best_step(trial: TrialFolder, epochs: pd.DataFrame) -> int:
    """Return the first step with the highest validation score."""
    return int(epochs["step"].iloc[int(epoch_scores(epochs, trial.metric).to_numpy().argmax())])


PIECES: Sequence[ArtifactKind] = (
    ArtifactKind("curves.svg", "image/svg+xml", ("epochs.csv",), _curves),
    ArtifactKind("confusion.svg", "image/svg+xml", ("epochs.csv", "predictions.npz"), _confusion),
    ArtifactKind("config.yaml", "application/yaml", ("config.yaml",)),
    ArtifactKind("epochs.csv", "text/csv", ("epochs.csv",)),
    ArtifactKind(CHECKPOINT, "application/octet-stream", (CHECKPOINT,)),
    ArtifactKind("failure.txt", "text/plain", ("failure.txt",)),
)


class TrialArtifacts:
    """An artifact store of Optuna over the folders of studies, which it only reads.

    Args:
        places: the studies that are shown, in the order in which ids count them.
    """

    def __init__(self, places: Sequence[StudyLocation]) -> None:
        self._folders = [_example(place) for place in places]

    def listed(self, place: int, number: int) -> list[Metadata]:
        """Return what Optuna's dashboard wants to know of each artifact that a trial has."""
        trial = self._trial(place, number)
        return [
            {
                "artifact_id": f"{place:x}-{number:x}-{kind:x}",
                "filename": piece.filename,
                "mimetype": piece.mimetype,
                "encoding": None,
            }
            for kind, piece in enumerate(PIECES)
            if all((trial.path / name).is_file() for name in piece.needs)
        ]

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open the file, or draw the image, that an id names.

        Raises:
            ArtifactNotFound: when there is none.
        """
        trial, piece = self._named(artifact_id)
        try:
            if piece.draw is not None:
                return io.BytesIO(piece.draw(trial).encode())
            return (trial.path / piece.filename).open("rb")
        except FileNotFoundError:
            raise ArtifactNotFound(f"trial {trial.number} has no {piece.filename}") from None

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuse: the files of a study are those that its run wrote.

        Raises:
            PermissionError: always.
        """
        raise PermissionError("files of a study are those of its folder: none are added here")

    def remove(self, artifact_id: str) -> None:
        """Keep the file: whoever deletes a study in the dashboard deletes what the storage holds of it."""

    def _named(self, artifact_id: str) -> tuple[TrialFolder, ArtifactKind]:
        numbers = _ID.fullmatch(artifact_id)
        if numbers is not None:
            place, number, kind = (int(text, 16) for text in numbers.groups())
            if place < len(self._folders) and kind < len(PIECES):
                return self._trial(place, number), PIECES[kind]
        raise ArtifactNotFound(f"no artifact {artifact_id!r}")

    def _trial(self, place: int, number: int) -> TrialFolder:
        example = self._folders[place]
        return replace(example, path=example.path / f"{number:04d}", number=number)


def _example(place: StudyLocation) -> TrialFolder:
    """Return the folder of a study's trials as if it were a trial's."""
    attributes = place.open().user_attrs
    grades = json.loads(attributes.get("cohort", "{}")).get("grades", ())
    return TrialFolder(place.folder / "trials", -1, attributes.get("metric", "accuracy"), grades)
