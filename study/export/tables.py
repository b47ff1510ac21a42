"""Export a study's tables as CSV or Parquet."""

from pathlib import Path
from typing import Literal

from drft.errors import StudyError
from drft.extras import install_command
from study.report.json_csv import csv
from study.results.files import write_whole
from study.results.study_results import StudyResults

Table = Literal["trials", "epochs"]
Format = Literal["csv", "parquet"]


def export_table(study: StudyResults, table: Table, form: Format, out: Path | None) -> str | None:
    """Write a table of a study to a file, or return it as text.

    Args:
        study: the study.
        table: one row per trial, or one per trial and epoch; the columns are those of the report's CSV files.
        form: ``csv``, or ``parquet``, which keeps the types and needs pyarrow.
        out: the file; None returns the text (CSV only).

    Raises:
        StudyError: when the file cannot be written, or pyarrow is missing.
    """
    rows = study.trials if table == "trials" else study.epochs
    if form == "parquet":
        if out is None:
            raise StudyError("--format parquet cannot be printed: name a file with --out")
        try:
            content: str | bytes = rows.to_parquet(index=False)
        except ImportError:
            raise StudyError(f"--format parquet needs pyarrow: {install_command('parquet')}") from None
    else:
        content = csv(rows)
        if out is None:
            return content
    write_whole(out, content, "name another file with --out")
    return None
