"""Published data sets that are recognised by their label table: APTOS 2019, EyePACS and Messidor-2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drft.data.datasets.csv_table import has_columns, read_label_table
from drft.data.datasets.files import SUFFIXES, files_below
from drft.data.datasets.labels import SourceLabels
from drft.errors import DataError

OPTIONS = ("images",)
"""Options of these data sets."""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """The files of one data set."""

    name: str
    table: str
    """File name of the label table."""
    columns: tuple[str, ...]
    """Columns that distinguish it from other tables of that name."""
    folders: tuple[str, ...]
    """Names of the image folder next to the table, in the order they are tried; else it is the table's own folder."""


KNOWN_TABLES = (
    KnownTable("aptos", "train.csv", ("id_code", "diagnosis"), ("train_images",)),
    KnownTable("eyepacs", "trainLabels.csv", ("image", "level"), ("resized_train", "train")),
    KnownTable("messidor2", "messidor_data.csv", ("adjudicated_gradable",), ("IMAGES",)),
)
"""APTOS 2019 (Kaggle, aptos2019-blindness-detection), EyePACS (Kaggle, diabetic-retinopathy-detection) and the
adjudicated grades (Krause et al. 2018) of Messidor-2 (Decencière et al. 2014)."""


def find_known_table(files: Sequence[Path]) -> tuple[KnownTable, Path] | None:
    """Return one of these data sets among the files of a folder, with its label table; None when there is none.

    Raises:
        DataError: when there are several.
    """
    matches = [
        (known, file)
        for known in KNOWN_TABLES
        for file in files
        if file.name.casefold() == known.table.casefold() and has_columns(file, known.columns)
    ]
    if len(matches) > 1:
        copies = " and ".join(str(file) for _, file in matches[:2])
        raise DataError(f"{copies} are label tables of data sets: name one of them")
    return matches[0] if matches else None


def read_known_table(known: KnownTable, table: Path, options: Mapping[str, str]) -> SourceLabels:
    """Read the labels of one of these data sets.

    Raises:
        DataError: when the table cannot be read, or its image folder is missing.
    """
    folders = {folder.name.casefold(): folder for folder in sorted(table.parent.iterdir()) if folder.is_dir()}
    images = next((folders[name.casefold()] for name in known.folders if name.casefold() in folders), table.parent)
    if not options and not any(file.suffix.lower() in SUFFIXES for file in files_below(images)):
        raise DataError(f"there are no images near {table}: put them there or name their folder with --images")
    return replace(read_label_table(table, {"images": str(images), **options}), name=known.name)
