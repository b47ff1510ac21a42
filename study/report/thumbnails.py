"""Small copies of a data set's images, as data URIs for the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from PIL import Image

from drft.data import open_dataset
from drft.data.datasets.download import DOWNLOADS
from drft.data.images import decode
from drft.errors import DataError
from drft.files.atomic import default_cache_dir
from study.results.open_dataset import data_source
from study.results.study_results import StudyInfo

SIDE = 176
"""Height and width in pixels, at which an image adds about 5 kB to the page."""


class Thumbnails(NamedTuple):
    """The images that can be shown."""

    images: Mapping[str, str]
    """Data URIs by image id."""
    missing: str = ""
    """Why there are none, as a sentence; empty if nothing is missing."""
    side: int = SIDE


NO_THUMBNAILS = Thumbnails(MappingProxyType({}))


def thumbnails(info: StudyInfo, ids: Sequence[str]) -> Thumbnails:
    """Return small copies of images, cropped to the field of view like the inputs of the networks.

    The data source is opened as the study recorded it. If it cannot be opened, would have to be downloaded, or holds
    different data now, there are no images and ``missing`` gives the reason.
    """
    if not ids:
        return NO_THUMBNAILS
    if info.source in DOWNLOADS and not (default_cache_dir() / info.source).is_dir():
        return _none(f"the data source {info.source} would have to be downloaded, and a report downloads nothing")
    try:
        dataset = open_dataset(info.source, options=data_source(info, None, {})[1])
        if dataset.fingerprint != info.dataset["fingerprint"]:
            return _none(f"{info.source} now holds other data than the study used")
        paths = {image.id: image.path for image in dataset.images}
        return Thumbnails({name: data_uri(Image.fromarray(decode(paths[name], SIDE))) for name in ids})
    except DataError as error:
        return _none(f"{error.faults[0]}")


def _none(reason: str) -> Thumbnails:
    return Thumbnails({}, f"The images are not shown: {reason}.")


def data_uri(image: Image.Image) -> str:
    """Return an image as a WebP data URI."""
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
