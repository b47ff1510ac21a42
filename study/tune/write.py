"""The results of a Tune run as a study, which all commands read: ``drft-study report NAME``."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from ray.tune import Result, ResultGrid

from drft.config.trial_config import TrialConfig, flat_settings
from drft.data.progress import silent
from drft.errors import DrftError, StudyError, one_line
from drft.files.atomic import whole_folder
from drft.training.records import EpochRecord, best_record
from study.executors.ray.metrics import RENAMED
from study.results.epochs import pack
from study.results.image_list import write_image_list
from study.results.predictions_file import load_predictions
from study.results.study_folder import StudyFolder
from study.results.study_metadata import StudyMetadata, open_study, record_metadata
from study.setup.floor import find_floor
from study.setup.plan import StudyPlan, prepare
from study.space import BoundSpace
from study.storage.open import close_storage, open_storage, study_url
from study.tune.configs import config_of, read_params, run_options

TUNE = "tune"
"""Sampler and pruner of such a study: a searcher and a trial scheduler of Ray Tune."""

_CHECKPOINTS = 5
"""The checkpoints of so many trials are kept, those with the highest scores, as in a study by default."""


def write_study(
    grid: ResultGrid,
    space: str | Mapping[str, Any] = "default",
    data: str = "synthetic",
    name: str = "tune",
    *,
    results: Path | str = Path("results"),
    **options: Any,
) -> Path:
    """Write the trials of a Tune run as a study with the goal ``best``; it appears whole or not at all.

    A trial that ran to its end is COMPLETE, with its files; one that a scheduler or a stopping criterion ended is
    PRUNED; one with an error, or that had not ended, is FAIL with the reason. The floor is computed, as for a study.

    Args:
        grid: what ``Tuner.fit`` returned for trials of :func:`study.tune.trainable`. Tune's own loggers must have run.
        space: the search space of the trainable.
        data: its data source.
        name: of the study.
        results: folder of studies.
        options: the options of the trainable.

    Returns:
        The folder of the study.

    Raises:
        UsageError: when there is such a study, when the space, the data or an option cannot be used, or when they are
            not those of the trainable.
    """
    run = replace(run_options(space, data, options), study=name, results=Path(results), trials=max(1, len(grid)))
    run = replace(run, command=f"study.tune.write_study(..., name={name!r})")
    if (run.results / name).exists():
        raise StudyError(f"{run.results / name} exists: choose another name, or remove it")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = prepare(run, silent)
    metadata = replace(plan.metadata, sampler=TUNE, pruner=TUNE)
    trials = [_read_trial(grid[number], plan, metadata) for number in range(len(grid))]
    labels = {image.id: image.grade for image in plan.dataset.images}
    for number, trial in enumerate(trials):
        # The predictions of a trainer of one's own may be of other images.
        if other := _trained_with_another(trial, grid[number], None if metadata.trainer else labels):
            advice = "give write_study the space, data and options of the trainable"
            raise StudyError(f"trial {number} of the Tune run was trained with {other}: {advice}")
    with whole_folder(plan.folder) as draft:
        folder = StudyFolder(draft, plan.dataset.grades)
        folder.write_study(metadata.space, metadata.overview())
        write_image_list(draft, plan.dataset.images)
        find_floor(replace(plan, folder=draft))
        for number, trial in enumerate(trials):
            _write_files(folder, number, trial, grid[number])
        folder.find_checkpoints()
        complete = [number for number, trial in enumerate(trials) if trial.state == TrialState.COMPLETE]
        best = sorted(complete, key=lambda number: (-(trials[number].value or 0.0), number))
        folder.keep_checkpoints(best[:_CHECKPOINTS])
        storage = open_storage(study_url(draft.parent, draft.name))
        open_study(metadata, storage)
        study = optuna.load_study(study_name=name, storage=storage)
        record_metadata(metadata, study)
        study.add_trials(trials)
        close_storage(storage)
    return plan.folder


def _read_trial(result: Result, plan: StudyPlan[BoundSpace], metadata: StudyMetadata) -> FrozenTrial:
    """Return a trial of Tune as one of Optuna, with the user attributes that the trial scheduler records."""
    metrics, records = result.metrics or {}, _read_records(result)
    ended = datetime.fromtimestamp(metrics["timestamp"]) if "timestamp" in metrics else datetime.now()  # noqa: DTZ005, DTZ006 (Optuna's times are naive)
    attributes: dict[str, Any] = {"control": False, "sampler": TUNE, "pruner": TUNE}
    params, failure = {}, _failure(result)
    try:
        given = _read_config(result)
        params, config = read_params(plan.space, given), config_of(plan.space, given, metadata.seed)
        blocks = plan.space.block_counts[config.backbone.name]
        attributes |= {
            "seed": config.seed,
            "depth": config.depth,
            "config": config.model_dump_json(),
            "depth_fraction": config.depth / blocks,
            "trainable_fraction": metrics.get("trainable_fraction"),
            "seconds": metrics.get("training_seconds", sum(record.seconds for record in records)),
            "worker": metrics.get("hostname"),
        }
    except DrftError as error:
        failure = failure or str(error).partition("\n")[0]
    value, state = None, TrialState.FAIL
    if failure:
        attributes |= {"fail_reason": failure, "fail_kind": "error"}
    else:
        best = best_record(records, metadata.metric)
        completed = bool(metrics["ending"])
        attributes |= {"best_step": best.step, "ending": metrics["ending"] or "pruned"}
        state = TrialState.COMPLETE if completed else TrialState.PRUNED
        value = best.score(metadata.metric) if completed else None
    scores = [record.score(metadata.metric) for record in records]
    trial = optuna.trial.create_trial(
        state=state,
        value=value,
        params=params,
        distributions={path: plan.space.distributions[path] for path in params},
        user_attrs=attributes | ({"epochs": pack(records)} if records else {}),
        intermediate_values={record.step: max(scores[: at + 1]) for at, record in enumerate(records)},
    )
    trial.datetime_start = ended - timedelta(seconds=metrics.get("time_total_s", 0.0))
    trial.datetime_complete = ended
    return trial


def _trained_with_another(trial: FrozenTrial, result: Result, labels: Mapping[str, int] | None) -> str:
    """Return in what the files of a trial differ from its configuration and from the images' labels, or nothing.

    A trial that failed has no files. With ``labels`` None, its images are not compared.
    """
    if trial.state == TrialState.FAIL or result.checkpoint is None:
        return ""
    with result.checkpoint.as_directory() as path:
        files = StudyFolder(Path(path)).trial(0)
        if not files.is_dir():
            return ""
        recorded = yaml.safe_load((files / "config.yaml").read_text())
        predictions = load_predictions(files / "predictions.npz", "validation")
    there, here = (flat_settings(values) for values in (recorded, json.loads(trial.user_attrs["config"])))
    if other := [name for name in here if there.get(name) != here[name]]:
        return f"another {other[0]} ({there.get(other[0])} there, {here[other[0]]} here)"
    validated = zip(predictions.ids, predictions.grades.tolist(), strict=True)
    return "other data" if labels is not None and any(labels.get(id_) != label for id_, label in validated) else ""


def _failure(result: Result) -> str:
    """Return why a trial has no result, on one line; empty if it has one."""
    if result.error is not None:
        error = getattr(result.error, "cause", None) or result.error
        return str(error).partition("\n")[0] if isinstance(error, DrftError) else one_line(error)
    if not result.metrics or "ending" not in result.metrics:
        return "it did not report an epoch"
    return "" if result.metrics.get("done") else "it had not ended when the Tune run ended"


def _read_config(result: Result) -> Mapping[str, Any]:
    """Return the configuration of a trial, from the file of Tune's JSON logger if the trial reported nothing.

    Raises:
        StudyError: when it is not known.
    """
    if result.config is not None:
        return result.config
    path = f"{result.path}/params.json"
    try:
        with result.filesystem.open_input_stream(path) as file:
            config: Mapping[str, Any] = json.loads(file.read())
    except (OSError, ValueError):
        raise StudyError(f"{path}: the configuration of the trial cannot be read") from None
    return config


def _read_records(result: Result) -> list[EpochRecord]:
    """Return the epochs of a trial, from the file of Tune's JSON or CSV logger. A repeated epoch counts once.

    Raises:
        StudyError: when the trial reported epochs and did not fail, and there is no such file.
    """
    table = result.metrics_dataframe
    if not result.metrics or "best_epoch" not in result.metrics:
        return []
    if table is None or "best_epoch" not in table:
        if result.error is not None:
            return []  # it failed anyway
        raise StudyError(f"{result.path}: no epochs in result.json or progress.csv; run Tune with its own loggers")
    names = {field: RENAMED.get(field, field) for field in EpochRecord.__dataclass_fields__}
    rows = table.drop_duplicates("epoch", keep="last").sort_values("epoch")
    return [
        EpochRecord(**{field: _plain(row[name]) for field, name in names.items()})
        for row in rows[list(names.values())].to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """Return a value of a table as JSON has it."""
    return value.item() if hasattr(value, "item") else value


def _write_files(folder: StudyFolder, number: int, trial: FrozenTrial, result: Result) -> None:
    """Write the folder of a trial: that of its checkpoint, or its failure."""
    if trial.state == TrialState.FAIL:
        if "config" in trial.user_attrs:
            config = TrialConfig.model_validate_json(trial.user_attrs["config"])
            folder.write_failure(number, config, trial.user_attrs["fail_reason"], str(result.error or ""))
    elif result.checkpoint is not None:
        with result.checkpoint.as_directory() as path:
            files = StudyFolder(Path(path)).trial(0)
            if files.is_dir():
                shutil.copytree(files, folder.trial(number))
