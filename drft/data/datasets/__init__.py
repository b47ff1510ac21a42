"""Data sets by name and by folder layout: they name the images, labels and groups."""
