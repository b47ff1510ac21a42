"""Checks of a data source before anything is trained on it: files, duplicates, labels and columns."""

from drft.data.checks.check import Planned, SourceCheck, check_source
from drft.data.checks.duplicates import Twin
from drft.data.checks.findings import Finding, Severity

__all__ = ["Finding", "Planned", "Severity", "SourceCheck", "Twin", "check_source"]
