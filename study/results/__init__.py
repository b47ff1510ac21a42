"""A study on disk: its folder, and reading it back."""
