"""Data sets by name and by layout: where images, labels and groups come from."""
