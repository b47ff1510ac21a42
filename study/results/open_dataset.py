"""Reopen the data set of a study and check that its images are the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drft.data import ImageDataset, Progress, open_dataset, test_part
from drft.data.datasets import classes
from drft.errors import DataError
from study.results.image_list import FILE, changed_images, changed_order
from study.results.study_results import StudyInfo

LABEL_OPTIONS = (*classes.OPTIONS, *test_part.OPTIONS)
"""Options that decide what the classes and the test images of a study are; a study keeps those of its first run."""


def recorded_labels(dataset: Mapping[str, Any], source_options: Mapping[str, str]) -> dict[str, str]:
    """Return the options by which the labels of a study are read again as in its first run.

    Args:
        dataset: what the study recorded of its data set.
        source_options: the options of its data source.
    """
    if "ordinal" not in dataset:
        return {"label_rules": classes.FORMER}
    return {name: value for name, value in source_options.items() if name in LABEL_OPTIONS}


def data_source(info: StudyInfo, data: str | None, options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the data source of a study and its options.

    Args:
        info: the study.
        data: where its images are now; None for the recorded source.
        options: options that override the recorded ones.
    """
    # A new source has its own image folder, so the recorded one does not apply.
    recorded = {name: value for name, value in info.source_options.items() if name != "images" or not data}
    return data or info.source, {**recorded, **recorded_labels(info.dataset, info.source_options), **options}


def reopen_dataset(info: StudyInfo, source: str, options: Mapping[str, str], progress: Progress) -> ImageDataset:
    """Return the data set that a study was run on.

    Args:
        info: the study.
        source: data source, as :func:`data_source` returns it.
        options: options of the source, likewise.
        progress: called while images are read.

    Raises:
        DataError: when the images cannot be read, are not those of the study, or are in another order.
    """
    try:
        dataset = open_dataset(source, options=options, progress=progress)
    except DataError as error:
        advice = f"study {info.name!r} was run on these images; name their new location with --data"
        raise DataError([*error.faults[:-1], f"{error.faults[-1]} ({advice})"]) from None
    if dataset.fingerprint != info.dataset["fingerprint"]:
        if dataset.rendered and source == info.source:
            raise DataError(
                f"this version renders other images for {source} than study {info.name!r} was run on: run a new study, "
                "or use the version of drft-study that ran this one"
            )
        changed = changed_images(info.folder, dataset.images)
        fingerprints = f"fingerprint {dataset.fingerprint[:12]}, not {info.dataset['fingerprint'][:12]}"
        raise DataError(
            f"the images of {source} are not those that study {info.name!r} was run on ({changed or fingerprints}): "
            "name the original images with --data"
        )
    check_order(dataset, source, info.name, info.folder)
    return dataset


def check_order(dataset: ImageDataset, source: str, name: str, folder: Path) -> None:
    """Check that the images of a study are in the order of its first run; its splits depend on it.

    Args:
        dataset: the images, which are those of the study.
        source: data source, for the error.
        name: of the study.
        folder: of the study.

    Raises:
        DataError: when they are in another order, with which the study would train and validate on other images.
    """
    if changed := changed_order(folder, dataset.images):
        raise DataError(
            f"the images of {source} are in another order than when study {name!r} was run ({changed}), and its splits "
            f"depend on it: put the rows into the order of {folder / FILE} again"
        )
