"""The finalists of a study with the goal depth, as a run writes them, without any training."""

from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from drft.config.trial_config import TrialConfig, with_values
from study.results.finalists_plan import UNTUNED, Finalist, FinalistsPlan
from tests.study.conftest import BLOCKS, made_record, study_attributes, trial_attributes

IMAGES, CLASSES, FOLDS, ROUNDS, EPOCHS = 100, 5, 5, 2, 6
KEPT = 4
"""The epoch at which all trainings are best."""


def write_finalists(results: Path, study: str, never: int = 1) -> FinalistsPlan:
    """Write finalists of depths 0, 2 and all blocks, and of the untuned configuration, into an existing study.

    Deeper trainings are better. At the epoch ``KEPT`` they are right about most images, at the last one about fewer;
    the class ``never`` is never predicted.
    """
    settings = {"head_phase.epochs": 2, "depth_phase.epochs": EPOCHS - 2, "depth_phase.lr": 0.00123}
    configs = {depth: with_values(TrialConfig(), {**settings, "depth": depth}) for depth in (0, 2, BLOCKS)}
    plan = FinalistsPlan(
        study,
        seed=0,
        trials=60,
        folds=FOLDS,
        rounds=ROUNDS,
        finalists=(
            *(Finalist(f"depth {depth}", depth, 0, 0.5, config) for depth, config in configs.items()),
            Finalist(UNTUNED, 2, None, None, TrialConfig()),
        ),
    )
    folder = results / study
    stored = optuna.create_study(
        study_name=f"{study}.finalists", storage=f"sqlite:///{folder / 'study.db'}", direction="maximize"
    )
    for key, value in study_attributes(TrialConfig(), sampler="planned", pruner="none", space=plan.text).items():
        stored.set_user_attr(key, value)
    grades = np.arange(IMAGES) % CLASSES
    trials = []
    for index in range(plan.size):
        number, fold, position = plan.locate(index)
        rng = np.random.default_rng(index)
        images = np.flatnonzero(np.random.default_rng(number).permutation(IMAGES) % FOLDS == fold)
        accuracies = np.full(EPOCHS, 0.3) + 0.1 * position
        accuracies[KEPT - 1], accuracies[-1] = 0.6 + 0.1 * position, 0.5 + 0.1 * position
        right = rng.random((EPOCHS, len(images))) < accuracies[:, None]
        predicted = np.where(right & (grades[images] != never), grades[images], (never + 1) % CLASSES)
        write_predictions(folder / "finalists" / "trials" / f"{index:04d}", images, grades[images], predicted)
        records = [made_record(step, 2, 0.9, float(value)) for step, value in enumerate(accuracies, start=1)]
        attributes = trial_attributes(plan.config(index), records, "completed")
        trials.append(create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs={**attributes, "place": index}))
    stored.add_trials(trials)
    return plan


def write_predictions(folder: Path, images: np.ndarray, grades: np.ndarray, predicted: np.ndarray) -> None:
    """Write the probabilities of a training that predicts these classes, shape (epochs, images)."""
    folder.mkdir(parents=True)
    np.savez(
        folder / "predictions.npz",
        validation_ids=np.array([f"train/{image:03d}" for image in images]),
        validation_grades=grades,
        validation_probabilities=(0.1 + 0.5 * np.eye(CLASSES)[predicted]).astype(np.float16),
    )
