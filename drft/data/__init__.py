"""Data: from a source to a cohort, from a cohort to pictures and splits."""

from drft.data.cohort import GRADES, Correction, ImageDataset, LabeledImage, Origin
from drft.data.datasets.open import open_cohort
from drft.data.images import load_images
from drft.data.progress import Progress
from drft.data.splits import Split, stratified_folds, stratified_split
from drft.files.atomic import default_cache_dir

__all__ = [
    "GRADES",
    "Correction",
    "ImageDataset",
    "LabeledImage",
    "Origin",
    "Progress",
    "Split",
    "default_cache_dir",
    "load_images",
    "open_cohort",
    "stratified_folds",
    "stratified_split",
]
