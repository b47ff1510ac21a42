"""Compute the floor of a study, before its search and for its test images, in a process that may import torch."""

import os
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from drft.config.trial_config import TrialConfig
from drft.data.dataset import ImageDataset
from drft.errors import DrftError
from drft.training.records import FloorPredictions, FloorTestPredictions
from study.executors.local.process import THREADS
from study.executors.resources import Slot, cores, thread_limit
from study.results.floor import Floor, NoFloor, read_floor, write_floor
from study.setup.torch_process import TorchProcess

if TYPE_CHECKING:
    from study.setup.plan import StudyPlan  # the other process imports this module, and Optuna takes a second
    from study.space import BoundSpace

_MODEL = "ridge"


def find_floor(plan: "StudyPlan[BoundSpace]") -> Floor | NoFloor:
    """Return the floor of a study: that of an earlier run, if it had the same data and backbone, else a new one.

    It is stored in the folder of the study. A floor that cannot be computed does not stop the study. With several
    backbones, the floor is that of the first one.

    Raises:
        StudyError: when the folder cannot be written.
    """
    config = plan.space.base_configs[0]
    if config.image_size not in plan.image_sizes:  # it is searched: at another size, all images would be decoded again
        nearest = min(plan.image_sizes, key=lambda size: abs(size - config.image_size))
        config = config.model_copy(update={"image_size": nearest})
    inputs = {
        "model": _MODEL,
        "fingerprint": plan.dataset.fingerprint,
        "grouping": plan.metadata.dataset["grouping"],
        "backbone": config.backbone.model_dump(mode="json"),
        "image_size": config.image_size,
        "precision": config.precision,
        "seed": config.seed,
        "split_seed": config.split.seed,
    }
    stored = read_floor(plan.folder)
    if isinstance(stored, Floor) and stored.inputs == inputs:
        return stored
    started = time.monotonic()
    floor: Floor | NoFloor
    try:
        with _floor_process(plan.slots) as process:
            process.begin(_predict, config, plan.dataset, plan.workload.cache_size, "train")
            # This import takes a second, in which the other process computes.
            from study.analysis.estimators.intervals import proportion  # noqa: PLC0415

            predictions: FloorPredictions = process.result()
        right = proportion(int((predictions.predicted == predictions.grades).sum()), len(predictions.ids))
        interval = (right.low or 0.0, 1.0 if right.high is None else right.high)
        floor = Floor(inputs, predictions, interval, _MODEL, time.monotonic() - started)
    except Exception as error:  # noqa: BLE001 (the study does not depend on its floor)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        floor = NoFloor(lines[0] if isinstance(error, DrftError) else f"{type(error).__name__}: {lines[0]}")
    write_floor(plan.folder, floor, inputs)
    return floor


def predict_test_images(
    floor: Floor, dataset: ImageDataset, slots: Sequence[Slot], cache_size: int | None
) -> FloorTestPredictions:
    """Predict the test images by the linear model of a floor, fitted on all training images.

    Its penalty is chosen as for the floor's folds, on training images only.

    Args:
        floor: of the study.
        dataset: the images of the study.
        slots: where trainings would run.
        cache_size: as for ``TrainingSession``.

    Raises:
        DrftError: when the features cannot be computed.
    """
    inputs = floor.inputs
    config = TrialConfig.model_validate(
        {
            **{name: inputs[name] for name in ("backbone", "image_size", "precision", "seed")},
            "split": {"seed": inputs["split_seed"]},
        }
    )
    with _floor_process(slots) as process:
        process.begin(_predict, config, dataset, cache_size, "test")
        predictions: FloorTestPredictions = process.result()
    return predictions


def _floor_process(slots: Sequence[Slot]) -> TorchProcess:
    # The device is that of the first worker; with Ray, the first GPU of this machine, if it has one. No worker runs
    # yet, so all cores are used.
    device: Mapping[str, str] = slots[0].environment if slots else {}
    environment = {**device, **dict.fromkeys(THREADS, str(thread_limit(cores())))}
    return TorchProcess("drft-floor", "computes the floor", environment)


def _predict(
    config: TrialConfig, dataset: ImageDataset, cache_size: int | None, part: Literal["train", "test"]
) -> FloorPredictions | FloorTestPredictions:
    import torch  # noqa: PLC0415
    from tqdm import tqdm  # noqa: PLC0415

    from drft.training.linear_floor import predict_floor, predict_test_images  # noqa: PLC0415 (imports torch)
    from drft.training.session import TrainingSession  # noqa: PLC0415

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch was imported before this was set
    tqdm.set_lock(threading.RLock())  # torch.fx has bars; tqdm's own lock is a semaphore that outlives the process
    warnings.simplefilter("ignore")  # the terminal belongs to the tuner
    session = TrainingSession(dataset, cache_size=cache_size)
    return predict_floor(config, session) if part == "train" else predict_test_images(config, session)
