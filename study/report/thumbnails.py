"""Small copies of a cohort's photographs, as data URIs that stand in the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from PIL import Image

from drft.data import open_cohort
from drft.data.datasets.download import DOWNLOADS
from drft.data.images import decode
from drft.errors import DataError
from drft.files.atomic import default_cache_dir
from study.results.study_results import StudyInfo

SIDE = 176
"""Height and width in pixels: a photograph is about 5 kB of the page then."""


class Thumbnails(NamedTuple):
    """The photographs that can be shown, by id."""

    pictures: Mapping[str, str]
    """Data URIs."""
    missing: str = ""
    """Why there are none, as a sentence; empty where nothing is missing."""
    side: int = SIDE


NO_THUMBNAILS = Thumbnails(MappingProxyType({}))


def thumbnails(info: StudyInfo, ids: Sequence[str]) -> Thumbnails:
    """Make small copies of photographs, cropped to the field of view as the networks saw them.

    The data source is opened as the study recorded it. Where that cannot be done on this machine, or it holds other
    data now, there are no pictures and the reason is said.
    """
    if not ids:
        return NO_THUMBNAILS
    if info.source in DOWNLOADS and not (default_cache_dir() / info.source).is_dir():
        return _none(f"the data source {info.source} is a download, and a report starts none")
    try:
        cohort = open_cohort(info.source, options=info.source_options)
        if cohort.fingerprint != info.cohort["fingerprint"]:
            return _none(f"{info.source} now holds other data than the study was run on")
        paths = {photograph.id: photograph.path for photograph in cohort.photographs}
        return Thumbnails({name: data_uri(Image.fromarray(decode(paths[name], SIDE))) for name in ids})
    except DataError as error:
        return _none(f"{error.faults[0]}")


def _none(reason: str) -> Thumbnails:
    return Thumbnails({}, f"The photographs are not shown: {reason}.")


def data_uri(picture: Image.Image) -> str:
    """Return a picture as it can stand in a page."""
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
