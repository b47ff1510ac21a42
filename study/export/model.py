"""Export a study's model as a folder that needs no other file of the study."""

from pathlib import Path
from typing import Any

import yaml

from drft.config.trial_config import with_values
from drft.errors import StudyError
from drft.models.checkpoint import load_checkpoint, save_model
from study.export.card import model_card
from study.export.names import CARD, CONFIG, MODEL, ONNX
from study.results.files import whole_folder
from study.results.study_results import StudyResults


def export_model(study: StudyResults, out: Path, number: int | None = None, *, onnx: bool = False) -> str:
    """Write a trial's model with all its weights, its configuration and a model card; the folder appears whole.

    Args:
        study: the study.
        out: a folder that does not exist or is empty.
        number: of the trial; None for the best one.
        onnx: whether to write the model as ONNX, too.

    Returns:
        A sentence about what was written.

    Raises:
        StudyError: when there is no such trial, its checkpoint was not kept, or the folder cannot be written.
        WeightsError: when the pretrained weights that the checkpoint needs are missing.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise StudyError(f"{out} already exists: name a new folder with --out")
    trial = _find_trial(study, number)
    checkpoint = _find_checkpoint(study, int(trial["number"]))
    if onnx:
        from study.export.onnx import check_packages, write_onnx  # noqa: PLC0415 (torch takes seconds to import)

        check_packages()
    model, config = load_checkpoint(checkpoint)
    # Only the file name of the pretrained weights: their folder is a path of this machine.
    config = with_values(config, {"backbone.weights": Path(config.backbone.weights).name})
    description = f"trial {trial['number']} of {study.info.name}"
    with whole_folder(out, "name another folder with --out") as draft:
        save_model(draft / MODEL, model, config, classes=len(study.info.dataset["grades"]))
        settings = config.model_dump(mode="json")
        (draft / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
        if onnx:
            difference = write_onnx(model, config.image_size, draft / ONNX)
            description += f"; {ONNX} agrees with it to {difference:.1g} in every probability"
        card = model_card(study, trial, config, mean=model.mean, std=model.std, onnx=onnx)
        (draft / CARD).write_text(card, encoding="utf-8")
    return f"{out}: {description}"


def _find_trial(study: StudyResults, number: int | None) -> dict[str, Any]:
    """Return the row of a trial, or of the best one."""
    name, rows = study.info.name, study.eligible
    if number is not None:
        rows = study.trials[study.trials["number"] == number]
        if rows.empty:
            raise StudyError(f"study {name!r} has no trial {number}: its trials are 0 to {len(study.trials) - 1}")
    elif study.complete.empty:
        raise StudyError(f"study {name!r} has no completed trial yet: continue it, or name a trial with --trial")
    elif rows.empty:
        raise StudyError(f"study {name!r} has no best trial, {study.no_best}: name one with --trial")
    return {str(column): value for column, value in rows.iloc[0].items()}


def _find_checkpoint(study: StudyResults, number: int) -> Path:
    path = study.checkpoint_file(number)
    if path.is_file():
        return path
    folder = study.info.folder / "trials"
    numbers = sorted(int(file.parent.name) for file in folder.glob(f"[0-9]*/{path.name}"))
    existing = f"there are those of {', '.join(map(str, numbers))}" if numbers else f"{folder} holds none"
    raise StudyError(f"trial {number} has no checkpoint, {existing}: run with a higher --keep-checkpoints")
