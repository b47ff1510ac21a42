"""Open a data source as a data set, decode its images and split them."""

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
