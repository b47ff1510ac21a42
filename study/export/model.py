"""Export a study's model as a folder that needs no other file of the study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from drft.config.trial_config import TrialConfig, with_values
from drft.errors import StudyError
from drft.models.checkpoint import load_checkpoint, save_checkpoint, save_model
from study.analysis import Withheld
from study.analysis.evidence import read_evidence, read_verdict
from study.analysis.verdict import Verdict
from study.callbacks.progress_reporter import preparation
from study.export.card import Refitted, ensemble_card, model_card, refit_card
from study.export.names import CARD, CONFIG, MEMBER, MODEL, ONNX
from study.results.files import whole_folder
from study.results.finalists_plan import Finalists, read_finalists
from study.results.open_dataset import data_source, reopen_dataset
from study.results.study_results import StudyResults

if TYPE_CHECKING:  # torch takes seconds to import
    from drft.models.backbone import Model


def export_model(study: StudyResults, out: Path, number: int | None = None, *, onnx: bool = False) -> str:
    """Write a model with all its weights, its configuration and a model card; the folder appears whole.

    Args:
        study: the study.
        out: a folder that does not exist or is empty.
        number: of the trial whose model is written; None for the ensemble of the recommended depth's fold models, or
            for the best trial if the study was not run with the goal depth.
        onnx: whether to write the model as ONNX, too.

    Returns:
        A sentence about what was written.

    Raises:
        StudyError: when there is no such trial, its checkpoint was not kept, or the folder cannot be written.
        WeightsError: when the pretrained weights that the checkpoint needs are missing.
    """
    _check_output(out, onnx=onnx)
    if number is None and study.info.goal == "depth":
        return _export_ensemble(study, out, onnx=onnx)
    trial = _find_trial(study, number)
    checkpoint = _find_checkpoint(study, int(trial["number"]))
    description = f"trial {trial['number']} of {study.info.name}"
    with whole_folder(out, "name another folder with --out") as draft:
        (model,), config = _write_models(draft, [checkpoint], [MODEL], study.info.classes)
        if onnx:
            description += _write_onnx(draft, [model], config, study.info.classes)
        card = model_card(study, trial, config, mean=model.mean, std=model.std, onnx=onnx)
        (draft / CARD).write_text(card, encoding="utf-8")
    return f"{out}: {description}"


def export_refit(
    study: StudyResults,
    out: Path,
    *,
    data: str | None = None,
    data_options: Mapping[str, str] | None = None,
    onnx: bool = False,
    console: Console | None = None,
) -> str:
    """Train the recommended depth once more, on all training images, and write this network like any other model.

    It stops at the epoch that cross-validation chose, the median over the depth's trainings, and keeps its last
    weights: no image is left that could choose another epoch. The test images are not predicted.

    Args:
        study: the study.
        out: a folder that does not exist or is empty.
        data: where the images of the study are now; None for the recorded source.
        data_options: options of the data source that override the recorded ones.
        onnx: whether to write the model as ONNX, too.
        console: for the progress; None for none.

    Returns:
        A sentence about what was written.

    Raises:
        StudyError: when the study has no verdict, the folder cannot be written, or ONNX cannot express the network,
            which is tried before the training.
        DataError: when the images cannot be read, or are not those of the study.
        NonFiniteLossError: when the training diverges.
    """
    from drft.training.refit import run_refit  # noqa: PLC0415 (torch takes seconds to import)

    _check_output(out, onnx=onnx)
    finalists, verdict = _recommended(study, "leave --refit out")
    depth = verdict.recommended_depth
    evidence = next(other for other in read_evidence(finalists).depths if other.depth == depth)
    config = finalists.plan.config(min(index for index, number in finalists.done.items() if number in verdict.trials))
    chosen = Refitted(median_low(evidence.epochs), config.steps, tuple(sorted(evidence.epochs)))
    source, options = data_source(study.info, data, data_options or {})
    if onnx:
        _try_onnx(config, len(study.info.classes))
    with preparation(console or Console(quiet=True)) as progress:
        dataset = reopen_dataset(study.info, source, options, progress)
        work = f"training on {verdict.images} images, epochs"
        progress(work, 0, chosen.epoch)
        refit = run_refit(config, dataset, chosen.epoch, lambda record: progress(work, record.step, chosen.epoch))
    description = f"one network at depth {depth} of {study.info.name}, trained on {refit.images} images"
    classes = study.info.classes
    with TemporaryDirectory() as folder, whole_folder(out, "name another folder with --out") as draft:
        checkpoint = Path(folder) / MODEL
        save_checkpoint(checkpoint, refit.state, refit.config, len(classes))
        (model,), config = _write_models(draft, [checkpoint], [MODEL], classes)
        if onnx:
            description += _write_onnx(draft, [model], config, classes)
        varied = _are_varied(finalists, verdict)
        card = refit_card(study, verdict, config, chosen, varied=varied, mean=model.mean, std=model.std, onnx=onnx)
        (draft / CARD).write_text(card, encoding="utf-8")
    return f"{out}: {description}"


def model_checkpoints(study: StudyResults) -> list[Path]:
    """Return the checkpoints of the model that ``export_model`` writes: fold models, or that of the best trial.

    Raises:
        StudyError: when there is no such model, or its checkpoints were not kept.
    """
    if study.info.goal != "depth":
        return [_find_checkpoint(study, int(_find_trial(study, None)["number"]))]
    return _fold_checkpoints(*_recommended(study, "name a trial with --trial"))


def _fold_checkpoints(finalists: Finalists, verdict: Verdict) -> list[Path]:
    """Return the checkpoints of the fold models of the recommended depth."""
    return [_find_checkpoint(finalists.results, number) for number in verdict.trials]


def _are_varied(finalists: Finalists, verdict: Verdict) -> bool:
    """Return whether the trainings of the recommended depth have several settings."""
    plan = finalists.plan
    finalist = plan.finalists[plan.position(verdict.recommended_depth)]
    return bool(finalist.next_best) and len(verdict.trials) > plan.folds


def _check_output(out: Path, *, onnx: bool) -> None:
    """Check that a model can be written, before anything is read or trained."""
    if out.resolve() == Path.cwd():  # it would be replaced, and the user's shell be left in a folder that is gone
        raise StudyError(f"{out} is the working folder: name a new folder with --out, such as model")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise StudyError(f"{out} already exists: name a new folder with --out")
    if onnx:
        from study.export.onnx import check_packages  # noqa: PLC0415 (torch takes seconds to import)

        check_packages()


def _recommended(study: StudyResults, advice: str) -> tuple[Finalists, Verdict]:
    """Return the finalists and the verdict of a study, or refuse with the reason why there is none."""
    finalists, verdict = read_finalists(study), read_verdict(study)
    if isinstance(verdict, Withheld) or finalists is None:
        reason = verdict.reason if isinstance(verdict, Withheld) else "there are no finalists"
        link = "; or " if ": " in reason else ": "  # some reasons end with what can be done about them
        raise StudyError(f"study {study.info.name!r} recommends no depth, since {reason}{link}{advice}")
    return finalists, verdict


def _export_ensemble(study: StudyResults, out: Path, *, onnx: bool) -> str:
    """Write the fold models of the recommended depth, which cross-validation has trained."""
    finalists, verdict = _recommended(study, "name a trial with --trial")
    checkpoints = _fold_checkpoints(finalists, verdict)
    names = [MEMBER.format(position) for position in range(1, len(checkpoints) + 1)]
    description = f"ensemble of {len(checkpoints)} at depth {verdict.recommended_depth} of {study.info.name}"
    with whole_folder(out, "name another folder with --out") as draft:
        models, config = _write_models(draft, checkpoints, names, study.info.classes)
        if onnx:
            description += _write_onnx(draft, models, config, study.info.classes)
        mean, std, varied = models[0].mean, models[0].std, _are_varied(finalists, verdict)
        card = ensemble_card(study, verdict, config, mean=mean, std=std, members=len(models), varied=varied, onnx=onnx)
        (draft / CARD).write_text(card, encoding="utf-8")
    return f"{out}: {description}"


def _write_models(
    folder: Path, checkpoints: Sequence[Path], names: Sequence[str], classes: Sequence[str]
) -> tuple[list["Model"], TrialConfig]:
    """Write checkpoints with all tensors, and the configuration of the first one; return models and configuration."""
    models, configs = [], []
    for checkpoint, name in zip(checkpoints, names, strict=True):
        model, config = load_checkpoint(checkpoint)
        # Only the file name of the pretrained weights: their folder is a path of this machine.
        configs.append(with_values(config, {"backbone.weights": Path(config.backbone.weights).name}))
        save_model(folder / name, model, configs[-1], len(classes), classes, members=len(names))
        models.append(model)
    config = configs[0]
    if len(models) == 1:  # timm builds no ensembles
        from study.export.timm_config import write_timm_config  # noqa: PLC0415 (torch takes seconds to import)

        write_timm_config(folder, models[0], config, classes)
    settings = config.model_dump(mode="json")
    (folder / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return models, config


def _write_onnx(folder: Path, models: Sequence["Model"], config: TrialConfig, classes: Sequence[str]) -> str:
    from study.export.onnx import write_onnx  # noqa: PLC0415 (torch takes seconds to import)

    difference = write_onnx(models, config.image_size, folder / ONNX, classes)
    return f"; {ONNX} agrees with it to {difference:.1g} in every probability"


def _try_onnx(config: TrialConfig, classes: int) -> None:
    """Write an untrained network as ONNX and discard it: a network that cannot be exported is not trained first."""
    from drft.models.backbone import build_model  # noqa: PLC0415 (torch takes seconds to import)
    from study.export.onnx import write_onnx  # noqa: PLC0415 (likewise)

    with TemporaryDirectory() as folder:
        write_onnx([build_model(config, classes)], config.image_size, Path(folder) / ONNX)


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
    names = (file.parent.name for file in folder.glob(f"[0-9]*/{path.name}"))
    numbers = sorted(int(name) for name in names if name.isdecimal())
    existing = f"there are those of {', '.join(map(str, numbers))}" if numbers else f"{folder} holds none"
    raise StudyError(f"trial {number} has no checkpoint, {existing}: run with a higher --keep-checkpoints")
