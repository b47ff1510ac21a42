"""Data: from a source to a data set, from a data set to images and splits."""

from drft.data.dataset import GRADES, Correction, ImageDataset, LabeledImage, Origin
from drft.data.datasets.open import open_dataset
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
    "open_dataset",
    "stratified_folds",
    "stratified_split",
]
