"""From what the user calls a data source to a cohort."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from drft.config import nearest
from drft.data import idrid, tables
from drft.data.cohort import Cohort
from drft.data.downloads import fetch
from drft.data.folders import files_below
from drft.data.labels import Listing, cohort_of
from drft.data.progress import Progress, silent
from drft.errors import DataError

NAMES = ("synthetic", "idrid")
"""Sources that are known by name; everything else is a path."""


def open_cohort(
    source: str,
    *,
    options: Mapping[str, str] = MappingProxyType({}),
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Cohort:
    """Open a data source.

    Args:
        source: ``synthetic`` or ``synthetic:SEED`` (rendered photographs), ``idrid`` (downloaded from Kaggle), a folder
            that holds IDRiD or one label table, or the path of a label table (CSV).
        options: ``labels`` for IDRiD; ``image_column``, ``grade_column``, ``group_column``, ``origin_column`` and
            ``images`` for other label tables.
        cache_dir: where rendered photographs and digests of files are kept; by default the user's cache folder.
        progress: told how far slow work is.

    Raises:
        DataError: with one line for every fault: what, where and what to do.
    """
    if is_rendered(source):
        _check_options(options, (), source)
        return _render(source, cache_dir, progress)
    return cohort_of(list_source(source, options, cache_dir), progress or silent, cache_dir)


def is_rendered(source: str) -> bool:
    """Tell whether a source is drawn by this program."""
    return source.partition(":")[0] == "synthetic"


def list_source(source: str, options: Mapping[str, str], cache_dir: Path | None = None) -> Listing:
    """Read what the label tables of a source claim, and check none of it; ``open_cohort`` says what a source is.

    Raises:
        DataError: when there is no such source, or its tables cannot be read.
    """
    if source == "idrid":
        return _list_folder(fetch("idrid", cache_dir), options)
    try:
        return _list_path(source, options)
    except OSError as error:
        raise DataError(f"{source} cannot be opened ({error}): check the path and its permissions") from error


def _list_path(source: str, options: Mapping[str, str]) -> Listing:
    path = path_of(source)
    if path.is_dir():
        return _list_folder(path, options)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _list_csv(path, options)
    raise DataError(
        f"no data source {source!r}{nearest(source, list(NAMES))}: use synthetic, synthetic:SEED, idrid, "
        "the folder of a data set or the path of a CSV"
    )


def path_of(source: str) -> Path:
    """Return the path that a source may be."""
    return Path(os.path.expanduser(source)).absolute()  # noqa: PTH111  leaves the name of an unknown user as it is


def _check_options(options: Mapping[str, str], known: Sequence[str], source: str) -> None:
    everything = [*idrid.OPTIONS, *tables.OPTIONS]
    faults = [
        f"option {name!r} does not apply to the data source {source}"
        if name in everything
        else f"unknown data option {name!r}{nearest(name, everything)}"
        for name in options
        if name not in known
    ]
    if faults:
        raise DataError(faults)


def _render(source: str, cache_dir: Path | None, progress: Progress | None) -> Cohort:
    from drft.data.synthetic import render_cohort  # noqa: PLC0415  rendering is needed only here

    seed = source.partition(":")[2]
    if source != "synthetic" and not (seed.isascii() and seed.isdigit()):
        raise DataError(f"data source {source!r}: the seed should be a whole number, as in synthetic:7")
    return render_cohort(int(seed or 0), cache_dir, progress)


def _list_folder(folder: Path, options: Mapping[str, str]) -> Listing:
    if layout := idrid.find_layout(folder):
        _check_options(options, idrid.OPTIONS, str(folder))
        return idrid.list_idrid(layout, options)
    found = [file for file in files_below(folder) if file.suffix.lower() == ".csv"]
    if not found:
        raise DataError(f"{folder} holds neither IDRiD nor a label table: name a folder with a CSV, or the CSV itself")
    if len(found) > 1:
        some = ", ".join(str(file.relative_to(folder)) for file in found[:5])
        raise DataError(f"{folder} holds {len(found)} CSV files ({some}): name the one that is the label table")
    return _list_csv(found[0], options)


def _list_csv(path: Path, options: Mapping[str, str]) -> Listing:
    if set(options) <= set(idrid.OPTIONS) and idrid.is_label_table(path):
        return _list_folder(path.parent, options)
    _check_options(options, tables.OPTIONS, str(path))
    return tables.list_table(path, options)
