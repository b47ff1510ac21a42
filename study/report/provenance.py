"""Where a study came from, and what one cannot conclude from it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from study.report.tables import trials_by_state
from study.results.study_metadata import describe_split
from study.results.study_results import StudyInfo, StudyResults


def limits(results: StudyResults) -> list[str]:
    """Return what a reader should not conclude from a study, one sentence or two each."""
    info, counts = results.info, trials_by_state(results)
    told = [
        _of_split(info.split),
        (
            f"The best of {counts['COMPLETE']} trials was picked on the same images it is scored on, so its "
            "score is optimistic (selection, or winner's curse)."
        ),
    ]
    if counts["PRUNED"]:
        told.append(
            f"{counts['PRUNED']} trials were pruned before their end. Statistics over whole trials leave them out, and "
            f"speak of the stronger trials only (censoring).{_of_some_folds(info.split)}"
        )
    if info.sampler not in {"random", "qmc", "grid"}:
        told.append(
            f"The sampler ({info.sampler}) learns while it searches: it tries promising depths and settings more "
            "often, so depths have unequal numbers of trials and their other settings differ."
        )
    told.append(
        "Equal depth is not equal capacity: blocks differ in size. The trainable share is given beside each depth."
    )
    if info.backbones:
        told.append("Depths compare within one backbone: figures by depth are those of the best trial's backbone.")
    return [*told, *info.dataset.get("notes", ())]


def _of_split(split: Mapping[str, Any]) -> str:
    if "folds" not in split:
        return (
            f"The validation set is small: {split['n_validation']} images, one split. Another split would "
            "give other figures, and differences of a few points are noise."
        )
    return (
        f"Each of {split['n_validation']} images was validated once, by a model that was trained on the other "
        f"{split['folds'] - 1} of {split['folds']} folds (about {split['n_train']} images); a trial's scores, its "
        "curve and its best step are those of all folds together. The models of a trial share most of their "
        "images, and intervals are over images: they do not say what other images to train on would "
        "give, and differences of a few points are noise."
    )


def _of_some_folds(split: Mapping[str, Any]) -> str:
    return " What is shown of them is of the folds that they ran." if "folds" in split else ""


def provenance(info: StudyInfo) -> list[tuple[str, str]]:
    """Return where a study came from, as terms and descriptions."""
    split, dataset = info.split, info.dataset
    sealed = f"{split['n_test']} test (sealed in the search)"
    parts = describe_split(split, f"{split['n_train']} train, {split['n_validation']} validation")
    return [
        ("Command", info.command),
        ("Study", f"{info.name}, seed {info.seed}, {info.trials_wanted} trials wanted"),
        ("Searched with", f"sampler {info.sampler}, pruner {info.pruner}, metric {_metric(info)}"),
        *_backbones(info),
        ("Data", f"{info.source} ({dataset['n']} images), fingerprint {dataset['fingerprint'][:16]}…"),
        *_corrections(dataset.get("corrections", ())),
        ("Split", f"{parts}, {sealed}; seed {split['seed']}"),
        ("Space fingerprint", f"{info.space_fingerprint[:16]}…"),
        ("Ran", f"{_moment(info.started)} to {_moment(info.finished)}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in info.versions.items())),
    ]


def _corrections(corrections: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Say what was corrected in the labels, and by which file."""
    done = {"exclude": "excluded", "relabel": "relabelled"}
    told = [
        f"{one['photographs']} images {done[one['kind']]} by {one['file']} (SHA-256 {one['digest'][:16]}…)"
        for one in corrections
    ]
    if told:
        yield "Labels", "; ".join(told)


def _metric(info: StudyInfo) -> str:
    return f"{info.metric} (minimized: its negative is the score)" if info.metric == "nll" else info.metric


def _backbones(info: StudyInfo) -> list[tuple[str, str]]:
    """Return what was fine-tuned; which weights each of several backbones had, the space says."""
    one = info.base_config.get("backbone", {})
    if not info.backbones:
        return [("Backbone", f"{one.get('name', '?')}, weights {one.get('weights', '?')}, {len(info.blocks)} blocks")]
    return [("Backbones", ", ".join(f"{name} ({blocks} blocks)" for name, blocks in info.backbones.items()))]


def _moment(moment: datetime | None) -> str:
    return "?" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
