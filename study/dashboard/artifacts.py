"""The files in a trial's folder as artifacts for Optuna's dashboard; nothing of a study is copied or written.

Artifacts come and go with the files: better trials displace the checkpoint of a trial, for instance. An id leads to no
other file than the one for which it was issued. Predictions on the held-out test set are not shown: confusion matrices
count validation images.
"""

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from optuna.artifacts import upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from drft.config.trial_config import Metric
from drft.errors import StudyError
from study.dashboard.svg import confusion_svg, curves_svg
from study.results.metric_names import epoch_scores
from study.results.predictions_file import load_predictions
from study.results.study_folder import CHECKPOINT


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """The folder of a trial, with the metric and the class names of its study."""

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
    """Files of the trial that it is made from."""
    draw: Callable[[TrialFolder], str] | None = None
    """Draws it on request; None for a file as it is."""


def _curves(trial: TrialFolder) -> str:
    epochs = pd.read_csv(trial.path / "epochs.csv")
    return curves_svg(epochs, best=_best_step(trial, epochs), title=f"Trial {trial.number}: accuracy by epoch")


def _confusion(trial: TrialFolder) -> str:
    step = _best_step(trial, pd.read_csv(trial.path / "epochs.csv"))
    predictions = load_predictions(trial.path / "predictions.npz", "validation")
    predicted = predictions.probabilities[step - 1].argmax(axis=-1)
    heading = f"Trial {trial.number}, epoch {step}: {len(predicted)} validation images"
    return confusion_svg(predictions.grades, predicted, trial.grades, title=heading)


def _best_step(trial: TrialFolder, epochs: pd.DataFrame) -> int:
    """Return the first epoch with the highest validation score."""
    return int(epochs["step"].iloc[int(epoch_scores(epochs, trial.metric).to_numpy().argmax())])


KINDS: Sequence[ArtifactKind] = (
    ArtifactKind("curves.svg", "image/svg+xml", ("epochs.csv",), _curves),
    ArtifactKind("confusion.svg", "image/svg+xml", ("epochs.csv", "predictions.npz"), _confusion),
    ArtifactKind("config.yaml", "application/yaml", ("config.yaml",)),
    ArtifactKind("epochs.csv", "text/csv", ("epochs.csv",)),
    ArtifactKind(CHECKPOINT, "application/octet-stream", (CHECKPOINT,)),
    ArtifactKind("failure.txt", "text/plain", ("failure.txt",)),
)


class TrialArtifacts:
    """An artifact store of Optuna that reads the folders of trials."""

    def __init__(self) -> None:
        self._artifacts: dict[str, tuple[TrialFolder, ArtifactKind]] = {}
        self._attributes: dict[tuple[Path, str], dict[str, Any]] = {}
        self._memory = InMemoryStorage()
        self._study_id = self._memory.create_new_study([StudyDirection.MAXIMIZE])

    def attributes(self, trial: TrialFolder) -> dict[str, Any]:
        """Return the trial attributes under which Optuna lists the artifacts that a trial has now."""
        attributes: dict[str, Any] = {}
        for kind in KINDS:
            if all((trial.path / name).is_file() for name in kind.needs):
                key = (trial.path, kind.filename)
                if key not in self._attributes:
                    self._attributes[key] = self._register(trial, kind)
                attributes |= self._attributes[key]
        return attributes

    def _register(self, trial: TrialFolder, kind: ArtifactKind) -> dict[str, Any]:
        """Issue an id for an artifact; return the attribute that Optuna gives a trial with it."""
        trial_id = self._memory.create_new_trial(self._study_id)
        # ``upload_artifact`` takes the name from a file. An empty one stands for files that may be gone by now and for
        # drawings, which are made on request.
        with tempfile.TemporaryDirectory() as folder:
            stand_in = Path(folder, kind.filename)
            stand_in.touch()
            artifact_id = upload_artifact(
                artifact_store=self,
                file_path=str(stand_in),
                study_or_trial=self._memory.get_trial(trial_id),
                storage=self._memory,
                mimetype=kind.mimetype,
            )
        self._artifacts[artifact_id] = (trial, kind)
        return self._memory.get_trial_system_attrs(trial_id)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open the file of an artifact, or draw its image.

        Raises:
            ArtifactNotFound: when there is no such artifact, or its file is gone.
        """
        if artifact_id not in self._artifacts:
            raise ArtifactNotFound(f"no artifact {artifact_id!r}")
        trial, kind = self._artifacts[artifact_id]
        try:
            if kind.draw is not None:
                return io.BytesIO(kind.draw(trial).encode())
            return (trial.path / kind.filename).open("rb")
        except FileNotFoundError:
            raise ArtifactNotFound(f"trial {trial.number} has no {kind.filename}") from None
        except (StudyError, ValueError, TypeError, KeyError, IndexError, OSError) as error:  # those of pandas, too
            raise ArtifactNotFound(f"trial {trial.number}: {kind.filename} cannot be drawn, {error}") from None

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep nothing: the content is in the folder of the trial."""

    def remove(self, artifact_id: str) -> None:
        """Keep the file: deleting a study in the dashboard deletes its trials from the storage only."""
