"""A study's tables as CSV or Parquet."""

from pathlib import Path
from typing import Literal

import pandas as pd

from drft.errors import StudyError
from drft.files.atomic import whole_file
from study.results.study_results import StudyResults

Table = Literal["trials", "epochs"]
Format = Literal["csv", "parquet"]


def export_table(study: StudyResults, table: Table, form: Format, out: Path | None) -> str | None:
    """Write a table of a study to a file, or return it as text.

    Args:
        study: as it was read.
        table: one row per trial, or one per trial and epoch; the columns are those of the report's CSV files.
        form: ``csv``; ``parquet`` keeps types and needs pyarrow.
        out: the file; None returns the text, which only CSV is.

    Raises:
        StudyError: when the file cannot be written, or what it takes is missing.
    """
    rows = study.trials if table == "trials" else study.epochs
    if form == "csv" and out is None:
        return str(rows.to_csv(index=False, lineterminator="\n"))
    if out is None:
        raise StudyError("--format parquet is no text: name a file with --out")
    try:
        with whole_file(out) as draft:
            _write(rows, form, draft)
    except ImportError:
        raise StudyError("--format parquet needs pyarrow: pip install 'drft-study[parquet]'") from None
    except OSError as error:
        raise StudyError(f"cannot write {out}: {error.strerror}; name another file with --out") from None
    return None


def _write(rows: pd.DataFrame, form: Format, path: Path) -> None:
    if form == "csv":
        rows.to_csv(path, index=False, lineterminator="\n")
    else:
        rows.to_parquet(path, index=False)
