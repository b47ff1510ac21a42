"""Published data sets whose folder is recognised by its label table: APTOS 2019, EyePACS and Messidor-2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drft.data.datasets.csv_table import list_table, read_table
from drft.data.datasets.files import SUFFIXES, files_below
from drft.data.datasets.listing import Listing
from drft.errors import DataError

OPTIONS = ("images",)
"""Options of these sets."""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """How one data set lies in its folder."""

    name: str
    table: str
    """File name of the label table."""
    columns: tuple[str, ...]
    """Columns by which the table is known from others of that name."""
    folders: tuple[str, ...]
    """Names of the folder of images beside the table, in the order they are tried; else the table's own folder."""


PUBLISHED = (
    KnownTable("aptos", "train.csv", ("id_code", "diagnosis"), ("train_images",)),
    KnownTable("eyepacs", "trainLabels.csv", ("image", "level"), ("resized_train", "train")),
    KnownTable("messidor2", "messidor_data.csv", ("adjudicated_gradable",), ("IMAGES",)),
)
"""APTOS 2019 (Kaggle, aptos2019-blindness-detection), EyePACS (Kaggle, diabetic-retinopathy-detection) and the
adjudicated grades (Krause et al. 2018) of Messidor-2 (Decencière et al. 2014)."""


def find_published(files: Sequence[Path]) -> tuple[KnownTable, Path] | None:
    """Find one of these sets among the files of a folder, with its label table; None when none is there.

    Raises:
        DataError: when there are several copies.
    """
    found = [
        (known, file)
        for known in PUBLISHED
        for file in files
        if file.name.casefold() == known.table.casefold() and _has_columns(file, known)
    ]
    if len(found) > 1:
        copies = " and ".join(str(file) for _, file in found[:2])
        raise DataError(f"{copies} are label tables of data sets: name one of them")
    return found[0] if found else None


def list_published(known: KnownTable, table: Path, options: Mapping[str, str]) -> Listing:
    """Read what the label table of one of these sets claims.

    Raises:
        DataError: when the table cannot be read, or lacks its image folder.
    """
    beside = {folder.name.casefold(): folder for folder in sorted(table.parent.iterdir()) if folder.is_dir()}
    images = next((beside[name.casefold()] for name in known.folders if name.casefold() in beside), table.parent)
    if not options and not any(file.suffix.lower() in SUFFIXES for file in files_below(images)):
        raise DataError(f"there are no images near {table}: put them there or name their folder with --images")
    return replace(list_table(table, {"images": str(images), **options}), name=known.name)


def _has_columns(file: Path, known: KnownTable) -> bool:
    try:
        table = read_table(file)
    except DataError:
        return False
    return all(table.named(column) for column in known.columns)
