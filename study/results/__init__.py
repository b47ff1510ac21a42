"""A study on disk: writing its folder and reading it back."""
