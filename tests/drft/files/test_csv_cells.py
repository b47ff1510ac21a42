"""Cells of CSV files are texts, never formulas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drft.files.csv_cells import text_cell, text_of_cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "'=1"])
def test_a_formula_becomes_a_text(text: str):
    assert text_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["IDRiD_001", "a=b", "", "'quoted'", "7"])
def test_other_texts_stay(text: str):
    assert text_cell(text) == text


@given(st.text(alphabet="'=+-@\t\rab", max_size=6))
def test_the_text_can_be_read_back(text: str):
    assert text_of_cell(text_cell(text)) == text
