"""Cells of CSV files that a spreadsheet would take for formulas: it would run what the name of an image says."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def text_cell(text: str) -> str:
    """Return a text as a cell: with a quotation mark in front if it begins like a formula (OWASP: CSV injection)."""
    return f"'{text}" if _FORMULA.match(text) else text


def text_of_cell(cell: str) -> str:
    """Return the text that :func:`text_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
