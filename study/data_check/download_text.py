"""What is said before and after a data set is downloaded."""

from collections.abc import Iterator
from shlex import quote

from drft.data.datasets.download import Download, DownloadedDataset


def before(download: Download) -> Iterator[str]:
    """Say what is about to be downloaded, and what it may be used for."""
    yield f"{download.title}: {download.page}"
    yield f"Licence: {download.licence}"


def after(download: Download, fetched: DownloadedDataset) -> Iterator[str]:
    """Say where it is, whether it is whole, and what to do with it."""
    expected = ""
    if download.images is not None:
        whole = fetched.images == download.images
        expected = ", as expected" if whole else f"; {download.images} were expected: fetch it again, or by hand"
    yield f"{fetched.folder}: {fetched.images} images{expected}"
    if fetched.agreeing or fetched.differing:
        checked = fetched.agreeing + len(fetched.differing)
        other = f"; {', '.join(fetched.differing)} differ from the published files" if fetched.differing else ""
        yield f"Checksums: {fetched.agreeing} of {checked} known ones agree{other}"
    if download.remark:
        yield download.remark
    where = quote(str(fetched.folder))
    yield f"Check it with: drft-study data check {where}"
    yield f"Use it with:   drft-study run --data {where}"


def is_doubtful(download: Download, fetched: DownloadedDataset) -> bool:
    """Tell whether images are missing, or more than there should be."""
    return download.images is not None and fetched.images != download.images
