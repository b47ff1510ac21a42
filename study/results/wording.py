"""How a study divides its images, in words."""

from collections.abc import Mapping
from typing import Any


def divided(split: Mapping[str, Any], usual: str) -> str:
    """Say how a study divides its training images: in the ``usual`` words, unless every fold validates."""
    if "folds" not in split:
        return usual
    return f"{split['n_validation']} images in {split['folds']} folds, each validating once"
