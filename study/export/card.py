"""The model card (Mitchell et al. 2019): what a model was trained on, how it scored, and what it is not for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drft.config.trial_config import TrialConfig
from study.analysis import Estimate, Withheld, proportion
from study.analysis.estimators.grading import grading
from study.export.names import CONFIG, MODEL, ONNX
from study.report.disclaimer import DISCLAIMER
from study.report.provenance import limits, provenance
from study.report.wording import between, percent
from study.results.study_results import StudyResults
from study.results.test_set import SUMMARY, confirmation_location

Trial = Mapping[str, Any]

_PRIVATE = {"Command", "Data", "Backbone"}
"""Of a study's provenance, what names places on its machine."""


def model_card(
    study: StudyResults, trial: Trial, config: TrialConfig, *, mean: Sequence[float], std: Sequence[float], onnx: bool
) -> str:
    """Return the card as Markdown.

    Args:
        study: that the model is of.
        trial: its row in the table of trials.
        config: of its training.
        mean: of the network's input channels, for images in [0, 1].
        std: likewise.
        onnx: whether there is an ONNX file.
    """
    sections = {
        "Model": _model(study, trial, config),
        "Trained on": _data(study),
        "Validation images": _validation(study, trial),
        "Test images": _test(study, trial),
        "Limits": (f"- {limit}" for limit in limits(study)),
        "Use": _use(config, mean, std, onnx=onnx),
        "Where it came from": (f"- {term}: {text}" for term, text in provenance(study.info) if term not in _PRIVATE),
        "Licence": (
            "The pretrained weights and the images have licences of their own; they hold for this model, too.",
        ),
    }
    opening = [
        f"# {study.info.name}, trial {trial['number']}",
        "",
        f"> **{DISCLAIMER}** It is not evidence of clinical",
    ]
    opening.append("> performance, and not for diagnosis, treatment or screening.")
    if study.info.dataset["rendered"]:
        opening += [">", "> **Trained on rendered images, not on patients.** It says nothing of real images."]
    chapters = (line for title, lines in sections.items() for line in ("", f"## {title}", "", *lines))
    return "\n".join([*opening, *chapters]) + "\n"


def _model(study: StudyResults, trial: Trial, config: TrialConfig) -> Iterator[str]:
    backbone, weights = config.backbone.name, config.backbone.weights
    share = f"{percent(float(trial['trainable_fraction']))} of the backbone's parameters"
    yield f"`{backbone}` (timm), pretrained weights `{weights}`, fine-tuned in two phases:"
    yield f"the head alone, then {_unfrozen(config, study.info.block_count(backbone))} with it ({share})."
    most = "lowest" if config.metric == "nll" else "highest"
    yield f"It is the state after step {trial['best_step']}, the one with the {most} validation {config.metric}."
    yield f"`{CONFIG}` holds every setting."


def _unfrozen(config: TrialConfig, blocks: int) -> str:
    """Say what the depth phase trains besides the head."""
    how, what = config.depth_phase, f"the last {config.depth} of {blocks} blocks"
    if how.window is not None and how.window < config.depth:
        what = f"the {how.window} earliest of {what}"
    of_these = {"all": "", "bias_and_norm": "biases and norm parameters of ", "lora": "low-rank updates of "}
    return f"{of_these[how.parameters]}{what}{', unfrozen one by one,' if how.gradual_epochs else ''}"


def _data(study: StudyResults) -> Iterator[str]:
    dataset, split = study.info.dataset, study.info.split
    yield f"{split['n_train']} images of the data set `{dataset['name']}`;"
    if "folds" in split:
        yield f"it is the last of {split['folds']} trainings, each without one of {split['folds']} folds. All"
        yield f"{split['n_validation']} images of these chose the epoch and the trial. Of all of them, by grade:"
    else:
        yield f"{split['n_validation']} others chose the epoch and the trial. Of all of them, by grade:"
    yield ""
    yield "| grade | name | images |"
    yield "|---:|---|---:|"
    counted = zip(dataset["grades"], dataset["counts_train"], strict=False)
    yield from (f"| {grade} | {name} | {count} |" for grade, (name, count) in enumerate(counted))


def _validation(study: StudyResults, trial: Trial) -> Iterator[str]:
    """Say how it graded the images it was chosen by."""
    n = int(study.info.split["n_validation"])
    yield f"The epoch and the trial were chosen on these {n} images, so all of these figures flatter."
    if "folds" in study.info.split:
        yield "Each was graded by the one training that had not seen it, and most of them not by this model."
    yield ""
    yield "| figure | value | 95% interval |"
    yield "|---|---:|---|"
    stored = study.predictions(int(trial["number"]))
    found = grading(stored.grades, stored.probabilities[int(trial["best_step"]) - 1]) if stored else None
    if found is None or isinstance(found, Withheld):
        yield _row("accuracy", proportion(round(float(trial["val_accuracy_best"]) * n), n))
        return
    yield _row("accuracy", found.accuracy)
    yield _row("quadratic weighted kappa", found.qwk, scale=1)
    yield _row("balanced accuracy", found.balanced_accuracy)
    yield _row("macro AUROC", found.auroc)
    for grade, recall in enumerate(found.recall):
        yield _row(f"recall of grade {grade}", recall)


def _test(study: StudyResults, trial: Trial) -> Iterator[str]:
    """Say what a confirmation found; the summary it wrote is read, never a prediction."""
    path = confirmation_location(study.location).folder / SUMMARY
    told = json.loads(path.read_text(encoding="utf-8"))["test"] if path.is_file() else {}
    score = next((one for one in told.get("scores", ()) if one["trial"] == trial["number"]), None)
    if not told:
        yield f"Not looked at: they are sealed until `drft-study confirm {study.info.name}` opens them."
    elif score is None:
        yield f"The confirmation of the study did not retrain this trial. {told.get('withheld', '')}".strip()
    else:
        yield f"Not of these weights: the configuration was retrained on {score['n_draws']} fresh seeds and splits, and"
        yield "each training graded the test images once."
        yield ""
        yield "| figure | value | 95% interval |"
        yield "|---|---:|---|"
        yield _row("accuracy, mean", Estimate(**score["accuracy"]))
        yield _row("quadratic weighted kappa, mean", Estimate(**score["qwk"]), scale=1)


def _row(name: str, found: Estimate | Withheld, scale: float = 100) -> str:
    if isinstance(found, Withheld):
        return f"| {name} | withheld | {found.reason} |"
    value = percent(found.value) if scale == 100 else f"{found.value:.3f}"
    return f"| {name} | {value} | {between(found, scale)} |"


def _use(config: TrialConfig, mean: Sequence[float], std: Sequence[float], *, onnx: bool) -> Iterator[str]:
    size = config.image_size
    yield "```"
    yield "drft-study predict FOLDER image.jpg"
    yield "```"
    yield ""
    yield f"`{MODEL}` holds every tensor under timm's names; `drft.load_checkpoint` rebuilds the network from it."
    if config.loss.kind != "cross_entropy":
        yield f"Its outputs are those of loss.kind `{config.loss.kind}` and no logits: the rebuilt model's `link` makes"
        yield "log-probabilities of them, with what the `link.` tensors say, if there are any."
    yield f"Images are cropped to the square around the field of view and resized to {size} by {size} pixels."
    yield f"RGB in [0, 1] is normalized with mean {_numbers(mean)} and deviation {_numbers(std)}."
    if onnx:
        yield f"`{ONNX}` does the last step itself: it takes `images`, float32 RGB in [0, 1] of shape (n, 3, {size},"
        yield f"{size}), and returns `probabilities` of shape (n, grades)."


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
