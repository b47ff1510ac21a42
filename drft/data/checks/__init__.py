"""Checks of a data source before any training: files, duplicates, labels and columns."""

from drft.data.checks.check import PlannedSplit, SourceCheck, check_source
from drft.data.checks.duplicates import DuplicatePair
from drft.data.checks.findings import Finding, Severity

__all__ = ["DuplicatePair", "Finding", "PlannedSplit", "Severity", "SourceCheck", "check_source"]
