"""A trained model in memory: one network, or an ensemble of several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drft.inference import predict_images
from drft.models.backbone import Model
from drft.models.checkpoint import load_checkpoint


@dataclass(frozen=True)
class TrainedModel:
    """One network, or an ensemble that predicts the mean of its members' probabilities."""

    members: Sequence[Model]
    image_size: int
    """Side of the input in pixels."""
    classes: Sequence[str]
    """Names of the classes, in the order of the probabilities."""

    @classmethod
    def load(cls, checkpoints: Sequence[Path], classes: Sequence[str]) -> Self:
        """Read a model from the checkpoints of its members, at least one."""
        loaded = [load_checkpoint(path) for path in checkpoints]
        return cls([model for model, _ in loaded], loaded[0][1].image_size, list(classes))

    def predict(self, images: Iterable[Path | str], faults: list[str] | None = None) -> NDArray[np.float32]:
        """Return the class probabilities of image files, in their order, shape (images, classes).

        Args:
            images: the image files, at least one.
            faults: as for :func:`drft.inference.predict_images`.

        Raises:
            DataError: when ``images`` is one path and no list. Naming every file that cannot be decoded, without
                ``faults`` or when there is no other file.
            WeightsError: when a prediction is not finite.
        """
        return predict_images(self.members, self.image_size, images, faults=faults)

    def __repr__(self) -> str:
        kind = "one network" if len(self.members) == 1 else f"ensemble of {len(self.members)} networks"
        return f"TrainedModel({kind}, {self.image_size} pixels, classes {', '.join(self.classes)})"
