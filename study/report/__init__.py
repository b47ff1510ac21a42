"""The report of a study: a page, its Markdown twin, and its figures for programs."""

from study.report.write import write_report

__all__ = ["write_report"]
