"""Tools that produce files of the project; not part of the wheel."""
