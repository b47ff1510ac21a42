"""From what the user calls a data source to a cohort."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from drft.config import nearest
from drft.data import idrid, tables
from drft.data.cache import default_cache_dir
from drft.data.cohort import Cohort
from drft.data.folders import files_below
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
    told = progress or silent
    name, _, rest = source.partition(":")
    if name == "synthetic":
        _check_options(options, (), source)
        return _render(source, rest, cache_dir, progress)
    if source == "idrid":
        return _open_folder(_fetch_idrid(cache_dir or default_cache_dir()), options, told, cache_dir)
    try:
        return _open_path(source, options, told, cache_dir)
    except OSError as error:
        raise DataError(f"{source} cannot be opened ({error}): check the path and its permissions") from error


def _open_path(source: str, options: Mapping[str, str], progress: Progress, cache_dir: Path | None) -> Cohort:
    path = Path(os.path.expanduser(source)).absolute()  # noqa: PTH111  leaves the name of an unknown user as it is
    if path.is_dir():
        return _open_folder(path, options, progress, cache_dir)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _open_csv(path, options, progress, cache_dir)
    raise DataError(
        f"no data source {source!r}{nearest(source, list(NAMES))}: use synthetic, synthetic:SEED, idrid, "
        "the folder of a data set or the path of a CSV"
    )


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


def _render(source: str, seed: str, cache_dir: Path | None, progress: Progress | None) -> Cohort:
    from drft.data.synthetic import render_cohort  # noqa: PLC0415  rendering is needed only here

    if source != "synthetic" and not (seed.isascii() and seed.isdigit()):
        raise DataError(f"data source {source!r}: the seed should be a whole number, as in synthetic:7")
    return render_cohort(int(seed or 0), cache_dir, progress)


def _open_folder(folder: Path, options: Mapping[str, str], progress: Progress, cache_dir: Path | None) -> Cohort:
    if layout := idrid.find_layout(folder):
        _check_options(options, idrid.OPTIONS, str(folder))
        return idrid.open_idrid(layout, options, progress, cache_dir)
    found = [file for file in files_below(folder) if file.suffix.lower() == ".csv"]
    if not found:
        raise DataError(f"{folder} holds neither IDRiD nor a label table: name a folder with a CSV, or the CSV itself")
    if len(found) > 1:
        some = ", ".join(str(file.relative_to(folder)) for file in found[:5])
        raise DataError(f"{folder} holds {len(found)} CSV files ({some}): name the one that is the label table")
    return _open_csv(found[0], options, progress, cache_dir)


def _open_csv(path: Path, options: Mapping[str, str], progress: Progress, cache_dir: Path | None) -> Cohort:
    if set(options) <= set(idrid.OPTIONS) and idrid.is_label_table(path):
        return _open_folder(path.parent, options, progress, cache_dir)
    _check_options(options, tables.OPTIONS, str(path))
    return tables.open_table(path, options, progress, cache_dir)


def _fetch_idrid(cache_dir: Path) -> Path:
    """Return the folder of IDRiD: put there by hand, or downloaded from Kaggle."""
    by_hand = cache_dir / "idrid"
    if by_hand.is_dir():
        return by_hand
    instead = (
        f"or get https://www.kaggle.com/datasets/{idrid.KAGGLE} with a browser, unpack it into {by_hand} "
        "or any folder FOLDER and use --data FOLDER"
    )
    try:
        import kagglehub  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise DataError(f"downloading IDRiD needs kagglehub: pip install 'drft-study[kaggle]', {instead}") from None
    try:
        return Path(kagglehub.dataset_download(idrid.KAGGLE))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"IDRiD could not be downloaded ({reason}): check the network, {instead}") from error
