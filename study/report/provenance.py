"""Provenance of a study, and its limits."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from study.analysis.design import is_adaptive
from study.report.tables import trials_by_state
from study.results.progress import counted
from study.results.study_metadata import describe_split
from study.results.study_results import StudyInfo, StudyResults
from study.results.test_set_openings import openings_of, openings_text


def limits(results: StudyResults) -> list[str]:
    """Return what a reader should not conclude from a study, in one or two sentences each."""
    info, counts = results.info, trials_by_state(results)
    limits = [
        _split_limit(results),
        (
            f"The best of {counted(counts['COMPLETE'], 'trial')} was selected on the images that score it, so its "
            "score is optimistic (winner's curse)."
        ),
    ]
    if counts["PRUNED"]:
        folds = " Their values are those of the folds that ran." if "folds" in info.split else ""
        limits.append(
            f"{counted(counts['PRUNED'], 'trial')} pruned before the end. Statistics over whole trials leave them out "
            f"and so describe the better trials only (censoring).{folds}"
        )
    if is_adaptive(info.samplers) and info.goal == "best":
        limits.append(
            f"The sampler ({' and '.join(info.samplers)}) learns while it searches: it tries promising depths and "
            "settings more often, so depths have unequal numbers of trials and their other settings differ."
        )
    if len(info.samplers) > 1 or len(info.pruners) > 1:
        limits.append(
            f"The study is mixed: it was resumed with other options, and its trials come from "
            f"{_named('sampler', info.samplers)} and {_named('pruner', info.pruners)}."
        )
    limits += _opened_limit(results)
    limits.append(
        "Equal depth is not equal capacity: blocks differ in size. The trainable share is next to each depth."
    )
    if info.backbones:
        limits.append("Depths compare within one backbone: results by depth are those of the best trial's backbone.")
    # Without the folders of this machine: a report is passed on.
    damaged = [line.replace(f"{info.folder.resolve()}/", "").replace(f"{info.folder}/", "") for line in results.damaged]
    limits += [f"Damaged, so that figures are missing or rest on fewer trials: {line}." for line in damaged]
    return [*limits, *info.dataset.get("notes", ())]


def _opened_limit(results: StudyResults) -> list[str]:
    """Return who had seen the test images before the last trial of this study was chosen."""
    early = [
        opening
        for opening in openings_of(results)
        if opening.study != results.info.name or opening.before(results.info.finished)
    ]
    if not early:
        return []
    return [f"The test images were {openings_text(early)}: later choices are not tested on unseen images."]


def _split_limit(results: StudyResults) -> str:
    split = results.info.split
    if results.splits_change:
        noise = 100 / math.sqrt(split["n_validation"])  # half of the 95 % interval of an accuracy of one half
        return (
            f"A trial of the search validates on {split['n_validation']} images, and on others in each block of "
            f"trials: scores of single trials are noise within about {noise:.0f} points. A verdict rests on the "
            f"cross-validation, in which each of {split['n_train'] + split['n_validation']} images is predicted by "
            "networks that were not trained on it."
        )
    if "folds" not in split:
        return (
            f"The validation set is small: {split['n_validation']} images, one split. Another split would "
            "give other results, and differences of a few points are noise."
        )
    return (
        f"Each of {split['n_validation']} images was validated once, by a model that was trained on the other "
        f"{split['folds'] - 1} of {split['folds']} folds (about {split['n_train']} images). The scores, the curve and "
        "the best epoch of a trial are those of all folds together. The models of a trial share most of their training "
        "images, and intervals are over validation images: they do not cover other training images, and differences of "
        "a few points are noise."
    )


def provenance(results: StudyResults) -> list[tuple[str, str]]:
    """Return the data, settings and versions of a study, as terms and descriptions."""
    info = results.info
    split, dataset = info.split, info.dataset
    metric = "nll (minimized: its negative is the score)" if info.metric == "nll" else info.metric
    openings = openings_of(results)
    test = f"{split['n_test']} test ({openings_text(openings) if openings else 'held out of the search'})"
    parts = describe_split(split, f"{split['n_train']} train, {split['n_validation']} validation")
    return [
        ("Command", info.command),
        ("Study", f"{info.name}, seed {info.seed}, {info.trials_wanted} trials wanted"),
        ("Searched with", f"{_named('sampler', info.samplers)}, {_named('pruner', info.pruners)}, metric {metric}"),
        *_backbones(info),
        ("Data", f"{info.source} ({dataset['n']} images), fingerprint {dataset['fingerprint'][:16]}…"),
        *_corrections(dataset.get("corrections", ())),
        ("Split", f"{parts}, {test}; seed {split['seed']}"),
        ("Space fingerprint", f"{info.space_fingerprint[:16]}…"),
        ("Ran", f"{_moment(info.started)} to {_moment(info.finished)}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in info.versions.items())),
    ]


def _named(kind: str, names: Sequence[str]) -> str:
    return f"{kind}{'s' if len(names) > 1 else ''} {' and '.join(names)}"


def _corrections(corrections: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the corrections of labels and the files that made them."""
    done = {"exclude": "excluded", "relabel": "relabelled"}
    if corrections:
        yield (
            "Labels",
            "; ".join(
                f"{each['photographs']} images {done[each['kind']]} by {each['file']} (SHA-256 {each['digest'][:16]}…)"
                for each in corrections
            ),
        )


def _backbones(info: StudyInfo) -> list[tuple[str, str]]:
    """Return the backbone and its weights; for several backbones, the search space lists the weights."""
    backbone = info.base_config.get("backbone", {})
    if not info.backbones:
        name, weights = (backbone.get(key, "?") for key in ("name", "weights"))
        return [("Backbone", f"{name}, weights {weights}, {len(info.blocks)} blocks")]
    return [("Backbones", ", ".join(f"{name} ({blocks} blocks)" for name, blocks in info.backbones.items()))]


def _moment(moment: datetime | None) -> str:
    return "?" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
