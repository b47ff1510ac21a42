"""From what the user calls a data source to a data set."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from drft.config.trial_config import nearest
from drft.data.dataset import ImageDataset
from drft.data.datasets import corrections, idrid
from drft.data.datasets import csv_table as tables
from drft.data.datasets import known_tables as published
from drft.data.datasets import near_duplicates as near
from drft.data.datasets.ddr import find_ddr, list_ddr
from drft.data.datasets.download import DOWNLOADS, fetch
from drft.data.datasets.files import files_below
from drft.data.datasets.image_folder import list_classes
from drft.data.datasets.listing import Listing, dataset_of
from drft.data.datasets.retinamnist import find_retinamnist, is_retinamnist, list_retinamnist
from drft.data.progress import Progress, silent
from drft.errors import DataError

NAMES = ("synthetic", *DOWNLOADS)
"""Sources that are known by name; everything else is a path."""

_COMMON = (*corrections.OPTIONS, near.OPTION)
"""Options of every source with label tables."""


def open_dataset(
    source: str,
    *,
    options: Mapping[str, str] = MappingProxyType({}),
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> ImageDataset:
    """Open a data source.

    Args:
        source: ``synthetic`` or ``synthetic:SEED`` (rendered images); ``idrid``, ``aptos``, ``eyepacs``,
            ``messidor2``, ``ddr`` or ``retinamnist`` (put into the cache folder by hand, or downloaded); a folder that
            holds one of these, one label table, or a folder of images for each class; or the path of a label
            table (CSV).
        options: ``labels`` for IDRiD; ``images`` for APTOS 2019, EyePACS and Messidor-2; ``image_column``,
            ``grade_column``, ``group_column``, ``origin_column`` and ``images`` for other label tables; ``exclude``
            and ``relabel`` for all: files of corrections (``drft.data.datasets.corrections``);
            ``group_lookalikes`` for all but rendered ones: ``yes`` keeps images that occur twice in different
            files on one side of every split.
        cache_dir: where rendered images and digests of files are kept; by default the user's cache folder.
        progress: told how far slow work is.

    Raises:
        DataError: with one line for every fault: what, where and what to do.
    """
    if is_rendered(source):
        _check_options(options, corrections.OPTIONS, source)
        return corrections.corrected_dataset(_render(source, cache_dir, progress), options)
    return dataset_of(list_source(source, options, cache_dir), progress or silent, cache_dir)


def is_rendered(source: str) -> bool:
    """Tell whether a source is drawn by this program."""
    return source.partition(":")[0] == "synthetic"


def list_source(source: str, options: Mapping[str, str], cache_dir: Path | None = None) -> Listing:
    """Read what the label tables of a source claim, with corrections; ``open_dataset`` says what a source is.

    No grade and no file is checked.

    Raises:
        DataError: when there is no such source, or its tables cannot be read.
    """
    own = {name: value for name, value in options.items() if name not in _COMMON}
    try:
        if source in DOWNLOADS:
            listing = _list_folder(fetch(source, cache_dir), own, cache_dir)
        else:
            listing = _list_path(source, own, cache_dir)
        return replace(corrections.corrected_listing(listing, options), lookalikes=near.OPTION in options)
    except OSError as error:
        raise DataError(f"{source} cannot be opened ({error}): check the path and its permissions") from error


def _list_path(source: str, options: Mapping[str, str], cache_dir: Path | None) -> Listing:
    path = path_of(source)
    if path.is_dir():
        return _list_folder(path, options, cache_dir)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _list_csv(path, options, cache_dir)
    if path.is_file() and is_retinamnist(path):
        _check_options(options, (), source)
        return list_retinamnist(path, cache_dir)
    raise DataError(
        f"no data source {source!r}{nearest(source, list(NAMES))}: use synthetic, synthetic:SEED, "
        f"{', '.join(DOWNLOADS)}, the folder of a data set or the path of a CSV"
    )


def path_of(source: str) -> Path:
    """Return the path that a source may be."""
    return Path(os.path.expanduser(source)).absolute()  # noqa: PTH111  leaves the name of an unknown user as it is


def _check_options(options: Mapping[str, str], known: Sequence[str], source: str) -> None:
    everything = [*idrid.OPTIONS, *tables.OPTIONS, *_COMMON]
    faults = [
        f"option {name!r} does not apply to the data source {source}"
        if name in everything
        else f"unknown data option {name!r}{nearest(name, everything)}"
        for name in options
        if name not in known
    ]
    if faults:
        raise DataError(faults)


def _render(source: str, cache_dir: Path | None, progress: Progress | None) -> ImageDataset:
    from drft.data.datasets.synthetic import render_dataset  # noqa: PLC0415  rendering is needed only here

    seed = source.partition(":")[2]
    if source != "synthetic" and not (seed.isascii() and seed.isdigit()):
        raise DataError(f"data source {source!r}: the seed should be a whole number, as in synthetic:7")
    return render_dataset(int(seed or 0), cache_dir, progress)


def _list_folder(folder: Path, options: Mapping[str, str], cache_dir: Path | None) -> Listing:
    if layout := idrid.find_layout(folder):
        _check_options(options, idrid.OPTIONS, str(folder))
        return idrid.list_idrid(layout, options)
    files = list(files_below(folder))
    if listing := _list_known(folder, files, options, cache_dir):
        return listing
    found = [file for file in files if file.suffix.lower() == ".csv"]
    if len(found) > 1:
        some = ", ".join(str(file.relative_to(folder)) for file in found[:5])
        raise DataError(f"{folder} holds {len(found)} CSV files ({some}): name the one that is the label table")
    if found:
        return _list_csv(found[0], options, cache_dir)
    if listing := list_classes(folder):
        _check_options(options, (), str(folder))
        return listing
    raise DataError(
        f"{folder} holds neither a known data set nor a label table, nor a folder of images for each class: "
        "name a folder with a CSV, or the CSV itself"
    )


def _list_known(
    folder: Path, files: Sequence[Path], options: Mapping[str, str], cache_dir: Path | None
) -> Listing | None:
    """Read a data set that is known by its layout; None when none is there."""
    if set(options) <= set(published.OPTIONS) and (found := published.find_published(files)):
        return published.list_published(*found, options)
    if labels := find_ddr(files):
        _check_options(options, (), str(folder))
        return list_ddr(labels)
    if arrays := find_retinamnist(files):
        _check_options(options, (), str(folder))
        return list_retinamnist(arrays, cache_dir)
    return None


def _list_csv(path: Path, options: Mapping[str, str], cache_dir: Path | None) -> Listing:
    if set(options) <= set(idrid.OPTIONS) and idrid.is_label_table(path):
        return _list_folder(path.parent, options, cache_dir)
    _check_options(options, tables.OPTIONS, str(path))
    return tables.list_table(path, options)
