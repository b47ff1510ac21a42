"""The floor: predictions of a linear model on the features of the frozen backbone, out of fold or for test images.

A fine-tuning has to beat this model, which trains no block of the backbone and takes seconds. The model is a ridge
classifier: least-squares regression on one column per class (1 for the class of the image, else -1), whose penalty is
chosen by leave-one-out error (Golub, Heath & Wahba 1979) inside each training fold. On IDRiD and the rendered images
with three backbones, multinomial logistic regression tuned on inner folds scores up to 1.5 points less or up to 1.2
more, and takes forty times as long or longer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.data.splits import stratified_folds
from drft.errors import BackboneError, TrainingError
from drft.training.context import TrainingContext
from drft.training.linear_probe import frozen_features
from drft.training.records import FloorPredictions, FloorTestPredictions, Part
from drft.training.session import TrainingSession

FOLDS = 5

_PENALTIES = np.logspace(0, 6, 13)
"""Penalties to choose from, for standardized features. On real images the choice is between 300 and 10,000."""

_PARTS: tuple[Part, ...] = ("train", "validation")


def predict_floor(config: TrialConfig, dataset: ImageDataset | TrainingSession) -> FloorPredictions:
    """Predict each training image by a ridge classifier that was fitted on the other folds' images.

    The features are the classifier's inputs, of plain images, by the pretrained backbone. They come from the
    activations that trainings of depth 0 cache. Test images are not used; a training image that shares a group with a
    test image is not predicted.

    Args:
        config: its backbone, image size, precision, split and seed are used. The folds have the seed of the split.
        dataset: the images, or a session on them.

    Raises:
        BackboneError: when the backbone has no single vector of features for each image.
        DataError: when an image cannot be read, or there are fewer groups of images than folds.
        TrainingError: when a feature is not finite.
    """
    session = dataset if isinstance(dataset, TrainingSession) else TrainingSession(dataset)
    folds = stratified_folds(session.dataset, FOLDS, config.split.seed)
    context = _prepare(config, session)
    order = np.concatenate([context.indices(part) for part in _PARTS])
    features = _features(context, _PARTS)[np.argsort(order)]
    indices = np.sort(order)
    fold = np.empty(len(indices), dtype=np.int64)
    for number, members in enumerate(folds):
        fold[np.searchsorted(indices, members)] = number
    grades = context.grades[indices]
    scores, penalties = predict_out_of_fold(features, grades, fold, context.classes)
    ids = tuple(session.dataset.images[index].id for index in indices)
    return FloorPredictions(ids, grades, fold, scores, penalties)


def predict_test_images(config: TrialConfig, dataset: ImageDataset | TrainingSession) -> FloorTestPredictions:
    """Predict each test image by a ridge classifier that was fitted, scaled and tuned on all training images.

    A training image that shares a group with a test image is left out. Arguments and errors are those of
    :func:`predict_floor`.
    """
    session = dataset if isinstance(dataset, TrainingSession) else TrainingSession(dataset)
    context = _prepare(config, session)
    grades = context.grades[np.concatenate([context.indices(part) for part in _PARTS])]
    scores, _ = _ridge_scores(_features(context, _PARTS), grades, _features(context, ("test",)), context.classes)
    indices = context.indices("test")
    ids = tuple(session.dataset.images[index].id for index in indices)
    return FloorTestPredictions(ids, context.grades[indices], scores.argmax(axis=1))


def _prepare(config: TrialConfig, session: TrainingSession) -> TrainingContext:
    """Prepare a training of the head alone, whose features the linear model gets."""
    untuned = TrialConfig(
        seed=config.seed,
        depth=0,
        backbone=config.backbone,
        image_size=config.image_size,
        precision=config.precision,
        split=config.split.turns[0],  # train and validation of any split are all images that the linear model may see
    )
    return session.prepare(untuned)


def _features(context: TrainingContext, parts: Sequence[Part]) -> NDArray[np.float64]:
    """Return the features of the images of some parts, shape (images, features); errors as in ``predict_floor``."""
    features = [frozen_features(context, part).float().cpu().numpy() for part in parts]
    if any(part.ndim != 2 for part in features):
        raise BackboneError(f"the classifier of {context.network.name} has more than one input vector for each image")
    together = np.concatenate(features).astype(np.float64)
    if not np.isfinite(together).all():
        raise TrainingError(f"{context.network.name} computes features that are not finite: use another precision")
    return together


def predict_out_of_fold(
    features: NDArray[np.float64], grades: NDArray[np.int64], fold: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    """Score each image by a ridge classifier that was fitted, scaled and tuned on the images of the other folds.

    Args:
        features: shape (images, features).
        grades: class of each image, from 0, shape (images,).
        fold: fold of each image, from 0, shape (images,).
        classes: number of classes.

    Returns:
        Scores of shape (images, classes), of which the highest is the prediction, and the penalty of each fold. A class
        that no training image has scores -1 for every image.
    """
    scores = np.empty((len(grades), classes))
    penalties = []
    for number in range(fold.max() + 1):
        held_out = fold == number
        fitted_on = features[~held_out], grades[~held_out]
        scores[held_out], penalty = _ridge_scores(*fitted_on, features[held_out], classes)
        penalties.append(penalty)
    return scores, tuple(penalties)


def _ridge_scores(
    features: NDArray[np.float64], grades: NDArray[np.int64], others: NDArray[np.float64], classes: int
) -> tuple[NDArray[np.float64], float]:
    """Fit a ridge classifier; return its scores of other images, shape (images, classes), and its penalty."""
    # Leaving one image out keeps its duplicates in: the penalty may be too small then, but never too favourable for the
    # score, since no image of a group that is scored takes part.
    model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
    model.fit(features, 2.0 * np.eye(classes)[grades] - 1)
    return model.predict(others), float(model[-1].alpha_)
