"""The chosen model of a study as a folder that needs nothing else of it."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import StudyError
from drft.models.checkpoint import load_checkpoint, save_model
from study.export.card import model_card
from study.export.names import CARD, CONFIG, MODEL, ONNX
from study.results.files import whole_folder
from study.results.study_folder import CHECKPOINT
from study.results.study_results import StudyResults


def export_model(study: StudyResults, out: Path, number: int | None = None, *, onnx: bool = False) -> str:
    """Write a trial's model with all its weights, its configuration and a model card; everything or nothing.

    Args:
        study: as it was read.
        out: folder that is not there yet, or empty.
        number: of the trial; None for the best one.
        onnx: whether to write the model as ONNX, too.

    Returns:
        What was written, in a sentence.

    Raises:
        StudyError: when there is no such trial, its checkpoint was not kept, or the folder cannot be written.
        WeightsError: when the pretrained weights that the checkpoint needs are gone.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise StudyError(f"{out} is there already: name a new folder with --out")
    trial = _trial(study, number)
    checkpoint = _checkpoint(study, int(trial["number"]))
    if onnx:
        from study.export.onnx import check_packages  # noqa: PLC0415 (torch waits until there is something to write)

        check_packages()
    model, config = load_checkpoint(checkpoint)
    config = _without_places(config)
    said = f"trial {trial['number']} of {study.info.name}"
    with whole_folder(out, "name another folder with --out") as draft:
        save_model(draft / MODEL, model, config, classes=len(study.info.dataset["grades"]))
        settings = config.model_dump(mode="json")
        (draft / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
        if onnx:
            from study.export.onnx import write_onnx  # noqa: PLC0415 (likewise)

            difference = write_onnx(model, config.image_size, draft / ONNX)
            said += f"; {ONNX} agrees with it to {difference:.1g} in every probability"
        card = model_card(study, trial, config, mean=model.mean, std=model.std, onnx=onnx)
        (draft / CARD).write_text(card, encoding="utf-8")
    return f"{out}: {said}"


def _without_places(config: TrialConfig) -> TrialConfig:
    """Name the pretrained weights by their file alone: where it lay concerns nobody else."""
    return with_values(config, {"backbone.weights": Path(config.backbone.weights).name})


def _trial(study: StudyResults, number: int | None) -> dict[str, Any]:
    """Return the row of a trial, or of the best one."""
    name = study.info.name
    if number is None:
        if study.complete.empty:
            raise StudyError(f"study {name!r} has no completed trial yet: let it run, or name one with --trial")
        if study.eligible.empty:
            raise StudyError(f"study {name!r} has no best trial, {study.no_best}: name one with --trial")
        return _row(study.eligible)
    rows = study.trials[study.trials["number"] == number]
    if rows.empty:
        raise StudyError(f"study {name!r} has no trial {number}: its trials are 0 to {len(study.trials) - 1}")
    return _row(rows)


def _row(rows: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in rows.iloc[0].items()}


def _checkpoint(study: StudyResults, number: int) -> Path:
    folder = study.info.folder / "trials"
    path = folder / f"{number:04d}" / CHECKPOINT
    if path.is_file():
        return path
    kept = sorted(int(found.parent.name) for found in folder.glob(f"[0-9]*/{CHECKPOINT}"))
    there = f"kept are those of {', '.join(map(str, kept))}" if kept else f"{folder} holds none"
    raise StudyError(f"trial {number} has no checkpoint, {there}: run with a higher --keep-checkpoints")
