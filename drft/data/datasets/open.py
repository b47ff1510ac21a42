"""Open a data source as a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from drft.config.trial_config import nearest
from drft.data import test_part
from drft.data.dataset import GRADES, ImageDataset, TestPart
from drft.data.datasets import classes, corrections, csv_table, idrid, known_tables, near_duplicates
from drft.data.datasets.ddr import find_ddr, read_ddr
from drft.data.datasets.download import DOWNLOADS, fetch
from drft.data.datasets.files import files_below, links_out_of
from drft.data.datasets.image_folder import find_stray_images, read_image_folder
from drft.data.datasets.labels import SourceLabels, build_dataset, with_classes
from drft.data.datasets.retinamnist import find_retinamnist, is_retinamnist, read_retinamnist
from drft.data.progress import Progress, silent
from drft.errors import DataError
from drft.files.home import expand_home

NAMES = ("synthetic", *DOWNLOADS)
"""Names of sources; any other source is a path."""

MAX_SEED_DIGITS = 18
"""Number of decimal digits of the largest seed of a rendered source."""

_COMMON = (*corrections.OPTIONS, near_duplicates.OPTION, *classes.OPTIONS, *test_part.OPTIONS)
"""Options of every source that has label tables."""


def open_dataset(
    source: str | Path,
    *,
    options: Mapping[str, object] = MappingProxyType({}),
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> ImageDataset:
    """Open a data source.

    Args:
        source: ``synthetic:SEED`` (rendered images; ``synthetic`` is ``synthetic:0``); ``idrid``, ``aptos``,
            ``eyepacs``, ``messidor2``, ``ddr`` or ``retinamnist`` (put into the cache folder by hand, or downloaded);
            a folder that contains one of these, one label table, or a folder of images for each class; or the path of
            a label table (CSV).
        options: ``labels`` for IDRiD; ``images`` for APTOS 2019, EyePACS and Messidor-2; ``image_column``,
            ``grade_column``, ``group_column``, ``origin_column`` and ``images`` for other label tables; ``exclude``
            and ``relabel`` for all: files of corrections (``drft.data.datasets.corrections``); ``ordinal`` (``yes``)
            and ``classes`` as in ``drft.data.datasets.classes``; ``test_fraction`` and ``test_seed`` hold a test part
            out of a source that publishes none;
            ``group_lookalikes`` for all except rendered ones: ``yes`` keeps the same image in different
            files on one side of every split. Values may also be paths, numbers, lists of names, True and False;
            ``label_column`` is another name of ``grade_column``.
        cache_dir: where rendered images and digests of files are stored; by default the user's cache folder.
        progress: called with the progress of slow work.

    Raises:
        DataError: with one line for every fault: what, where and what to do.
    """
    source, options = str(source), option_texts(options)
    if is_rendered(source):
        _check_options(options, (*corrections.OPTIONS, "ordinal", "label_rules", *test_part.OPTIONS), source)
        if test_part_of(options):
            raise DataError("--test-fraction: rendered images have a test part: leave the option out")
        return corrections.correct_dataset(_render(source, cache_dir, progress), options)
    return build_dataset(read_source(source, options, cache_dir), progress or silent, cache_dir)


def option_texts(options: Mapping[str, object]) -> dict[str, str]:
    """Return options of a source as a study records them: texts by name, without those that are False or None.

    Raises:
        DataError: when they are no mapping.
    """
    if not isinstance(options, Mapping):
        raise DataError(f"the options of the data should be a mapping of names to values, not {options!r}")
    return {
        "grade_column" if name == "label_column" else name: _text(value)
        for name, value in options.items()
        if value is not None and value is not False
    }


def _text(value: object) -> str:
    if value is True:
        return "yes"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def is_rendered(source: str) -> bool:
    """Return whether this program draws the images of a source."""
    return source.partition(":")[0] == "synthetic"


def read_source(source: str, options: Mapping[str, str], cache_dir: Path | None = None) -> SourceLabels:
    """Read the labels of a source with corrections; for the arguments see ``open_dataset``.

    No grade and no image file is checked.

    Raises:
        DataError: when there is no such source, or its tables cannot be read.
    """
    own_options = {name: value for name, value in options.items() if name not in _COMMON}
    try:
        if source in DOWNLOADS:
            labels = _read_folder(fetch(source, cache_dir), own_options, cache_dir)
            labels = replace(labels, grades=labels.grades or GRADES)  # all of these data sets are of retinopathy
        else:
            labels = _read_path(source, own_options, cache_dir)
        labels = corrections.correct_labels(with_classes(labels, options), options)
    except OSError as error:
        raise DataError(f"{source} cannot be opened ({error}): check the path and its permissions") from error
    part = test_part_of(options)
    published = sum(row.origin == "test" for row in labels.rows)
    if part and published:
        raise DataError(test_part.HAS_TEST_PART.format(published))
    return replace(labels, group_near_duplicates=near_duplicates.OPTION in options, test_part=part)


def test_part_of(options: Mapping[str, str]) -> TestPart | None:
    """Return the test part that options of a source ask for; None if they ask for none.

    Raises:
        DataError: when the share is none.
    """
    if "test_fraction" not in options:
        return None
    try:
        part = TestPart(float(options["test_fraction"]), int(options.get("test_seed", 0)))
    except ValueError:
        part = TestPart(0.0)
    if not 0 < part.fraction < 1:
        raise DataError(f"--test-fraction should be above 0 and below 1, such as 0.2, not {options['test_fraction']}")
    return part


def path_of(source: str) -> Path:
    """Return the path that a source names if it is one."""
    return expand_home(source).absolute()


def _check_options(options: Mapping[str, str], allowed: Sequence[str], source: str) -> None:
    known = [*idrid.OPTIONS, *csv_table.OPTIONS, *_COMMON]
    faults = [
        f"option {name!r} does not apply to the data source {source}"
        if name in known
        else f"unknown data option {name!r}{nearest(name, known)}"
        for name in options
        if name not in allowed
    ]
    if faults:
        raise DataError(faults)


def _render(source: str, cache_dir: Path | None, progress: Progress | None) -> ImageDataset:
    from drft.data.datasets.synthetic import render_dataset  # noqa: PLC0415  SciPy is slow to import

    return render_dataset(_seed(source), cache_dir, progress)


def _seed(source: str) -> int:
    """Return the seed in the name of a rendered source: 7 for ``synthetic:7``, 0 for ``synthetic``."""
    _, colon, digits = source.partition(":")
    if not colon:
        return 0
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_SEED_DIGITS):
        raise DataError(
            f"data source {source[:80]!r}: the seed after the colon should be a whole number from 0 on, "
            f"of at most {MAX_SEED_DIGITS} digits, as in synthetic:7"
        )
    return int(digits)


def _read_path(source: str, options: Mapping[str, str], cache_dir: Path | None) -> SourceLabels:
    path = path_of(source)
    if path.is_dir():
        return _read_folder(path, options, cache_dir)
    if path.is_file() and path.suffix.lower() in csv_table.SUFFIXES:
        return _read_csv(path, options)
    if path.is_file() and is_retinamnist(path):
        _check_options(options, (), source)
        return read_retinamnist(path, cache_dir)
    raise DataError(
        f"no data source {source!r}{nearest(source, list(NAMES))}: use synthetic, synthetic:SEED, "
        f"{', '.join(DOWNLOADS)}, the folder of a data set or the path of a CSV"
    )


def _read_folder(folder: Path, options: Mapping[str, str], cache_dir: Path | None) -> SourceLabels:
    if layout := idrid.find_layout(folder):
        _check_options(options, idrid.OPTIONS, str(folder))
        return idrid.read_idrid(layout, options)
    files = list(files_below(folder))
    if labels := _read_published(folder, files, options, cache_dir):
        return labels
    tables = [file for file in files if file.suffix.lower() in csv_table.SUFFIXES]
    if len(tables) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in tables[:5])
        raise DataError(f"{folder} holds {len(tables)} CSV files ({names}): name the one that is the label table")
    if tables:
        return _read_csv(tables[0], options)
    if labels := read_image_folder(folder):
        _check_options(options, (), str(folder))
        return labels
    if fault := find_stray_images(folder):
        raise DataError(fault)
    links = links_out_of(folder)
    hint = f" (the link {links[0]} leads elsewhere and is not followed)" if links else ""
    raise DataError(
        f"{folder} holds neither a known data set nor a label table, nor a folder of images for each class{hint}: "
        "name a folder with a CSV, or the CSV itself"
    )


def _read_published(
    folder: Path, files: Sequence[Path], options: Mapping[str, str], cache_dir: Path | None
) -> SourceLabels | None:
    """Read a published data set other than IDRiD; None when the folder has none."""
    if set(options) <= set(known_tables.OPTIONS) and (match := known_tables.find_known_table(files)):
        return known_tables.read_known_table(*match, options)
    if label_files := find_ddr(files):
        _check_options(options, (), str(folder))
        return read_ddr(label_files)
    if arrays := find_retinamnist(files):
        _check_options(options, (), str(folder))
        return read_retinamnist(arrays, cache_dir)
    return None


def _read_csv(path: Path, options: Mapping[str, str]) -> SourceLabels:
    if set(options) <= set(idrid.OPTIONS) and idrid.table_kind(path):
        layout = idrid.find_layout(path.parent)
        if layout and path in {layout.training, layout.testing}:
            return idrid.read_idrid(layout, options)
    _check_options(options, csv_table.OPTIONS, str(path))
    return csv_table.read_label_table(path, options)
