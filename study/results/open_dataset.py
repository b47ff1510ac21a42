"""The images of a study, opened again: the same ones, or none."""

from collections.abc import Mapping

from drft.data import ImageDataset, Progress, open_dataset
from drft.errors import DataError
from study.results.study_results import StudyInfo


def source_of(info: StudyInfo, data: str | None, given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the data source of a study and its options.

    Args:
        info: the study.
        data: where its images are now; None for where they were.
        given: options that are said anew.
    """
    recorded = {name: value for name, value in info.source_options.items() if name != "images" or not data}
    return data or info.source, {**recorded, **given}


def reopen_dataset(info: StudyInfo, source: str, options: Mapping[str, str], tell: Progress) -> ImageDataset:
    """Open the images that a study was run on.

    Raises:
        DataError: when they cannot be read, or are others than those.
    """
    try:
        dataset = open_dataset(source, options=options, progress=tell)
    except DataError as error:
        advice = f"study {info.name!r} was run on these images; say with --data where they are now"
        raise DataError([*error.faults[:-1], f"{error.faults[-1]} ({advice})"]) from None
    if dataset.fingerprint != info.dataset["fingerprint"]:
        raise DataError(
            f"the images of {source} are not those that study {info.name!r} was run on (fingerprint "
            f"{dataset.fingerprint[:12]}, not {info.dataset['fingerprint'][:12]}): name the same ones with --data"
        )
    return dataset
