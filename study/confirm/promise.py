"""Open the test set of a study with the goal depth: for the recommended model, the untuned configuration and the floor.

Nothing is trained: cross-validation has trained both ensembles, whose fold models have predicted the test images.
"""

from datetime import UTC, datetime

from drft.data import Progress
from drft.errors import StudyError
from study.analysis import Withheld
from study.analysis.evidence import read_verdict
from study.analysis.remaining_finalists import are_finished
from study.results.confirmation_plan import check_has_test_images
from study.results.finalists_plan import UNTUNED, read_finalists
from study.results.floor import NoFloor
from study.results.open_dataset import data_source, reopen_dataset
from study.results.study_results import StudyResults
from study.results.test_set import (
    FLOOR_MODEL,
    RECOMMENDED,
    ModelPredictions,
    OpenedTestSet,
    PromisedAccuracy,
    predict_by_ensemble,
)
from study.setup.floor import predict_test_images
from study.setup.options import RunOptions
from study.setup.plan import find_slots


def open_test_set(study: StudyResults, options: RunOptions, data: str | None, progress: Progress) -> OpenedTestSet:
    """Return the promise of a study and what its model, the untuned configuration and the floor predict; write nothing.

    Args:
        study: with the goal depth.
        options: where the floor's features are computed; ``data_options`` override the recorded ones.
        data: where the images of the study are now; None for the recorded source.
        progress: called while images are read.

    Raises:
        StudyError: when there are no test images, the study is not finished, or predictions are missing.
        DataError: when the images cannot be read, or are not those of the study.
        UsageError: when the options name what this machine does not have.
        DrftError: when the floor cannot be computed.
    """
    check_has_test_images(study.info)
    finalists, verdict = read_finalists(study), read_verdict(study)
    if isinstance(verdict, Withheld) or finalists is None or not are_finished(finalists):
        reason = "its finalists are not finished: resume the run"
        if isinstance(verdict, Withheld):
            reason = verdict.reason
        reason = reason.replace("resume the run", f"resume the run with `{study.info.command}`")
        raise StudyError(f"study {study.info.name!r} makes no promise yet, {reason}; the test set stays closed")
    untuned = finalists.of_name(UNTUNED)
    predictions, predicted = predict_by_ensemble(finalists, verdict.trials)
    models = [ModelPredictions(RECOMMENDED, verdict.recommended_depth, verdict.trials, predicted)]
    missing: dict[str, str] = {}
    if untuned:
        depth = next(finalist.depth for finalist in finalists.plan.finalists if finalist.name == UNTUNED)
        models.append(ModelPredictions(UNTUNED, depth, tuple(untuned), predict_by_ensemble(finalists, untuned)[1]))
    else:
        missing[UNTUNED] = "all of its trainings diverged"
    if isinstance(study.floor, NoFloor):
        missing[FLOOR_MODEL] = f"there is no floor: {study.floor.reason}"
    else:
        slots = find_slots(options)
        dataset = reopen_dataset(study.info, *data_source(study.info, data, options.data_options), progress)
        floor = predict_test_images(study.floor, dataset, slots, options.cache_size)
        if floor.ids != predictions.ids or (floor.grades != predictions.grades).any():
            raise StudyError(f"the predictions in {finalists.results.info.folder} are not of this study's test images")
        models.append(ModelPredictions(FLOOR_MODEL, None, (), floor.predicted))
    promise = verdict.promise
    return OpenedTestSet(
        opened=datetime.now(UTC).isoformat(timespec="seconds"),
        promise=PromisedAccuracy(promise.value, promise.low, promise.high, verdict.images),
        ids=predictions.ids,
        grades=predictions.grades,
        models=tuple(models),
        missing=missing,
    )
