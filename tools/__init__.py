"""Tools that make what the project ships; no part of the wheel."""
