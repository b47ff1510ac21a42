"""Text before and after the download of a data set."""

from collections.abc import Iterator
from shlex import quote

from drft.data.datasets.download import Download, DownloadedDataset


def before(download: Download) -> Iterator[str]:
    """Yield what will be downloaded, and its licence."""
    yield f"{download.title}: {download.page}"
    yield f"Licence: {download.licence}"


def after(download: Download, fetched: DownloadedDataset) -> Iterator[str]:
    """Yield the folder, whether the download is complete, and the commands that use it."""
    expected = ""
    if download.images is not None:
        complete = fetched.images == download.images
        expected = ", as expected" if complete else f"; {download.images} were expected: fetch it again, or by hand"
    yield f"{fetched.folder}: {fetched.images} images{expected}"
    if fetched.agreeing or fetched.differing:
        checked = fetched.agreeing + len(fetched.differing)
        other = f"; {', '.join(fetched.differing)} differ from the published files" if fetched.differing else ""
        yield f"Checksums: {fetched.agreeing} of {checked} known ones agree{other}"
    if download.remark:
        yield download.remark
    folder = quote(str(fetched.folder))
    yield f"Check it with: drft-study data check {folder}"
    yield f"Use it with:   drft-study run --data {folder}"


def is_doubtful(download: Download, fetched: DownloadedDataset) -> bool:
    """Return whether the number of images differs from the expected one."""
    return download.images is not None and fetched.images != download.images
