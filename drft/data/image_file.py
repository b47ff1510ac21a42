"""Open image files that others made: the one place that reads them.

Nothing in such a file is trusted. Only the formats of ``FORMATS`` are opened: Pillow hands PostScript to Ghostscript,
which runs it. Sizes are limited before anything is decoded. Metadata that cannot be read cost the metadata, not the
image; missing pixels cost the image.
"""

import contextlib
import hashlib
import logging
import re
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import (
    BmpImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from drft.errors import DataError

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        TiffImagePlugin.TiffImageFile,
        BmpImagePlugin.BmpImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
"""Pillow's names of the formats that are opened."""

MAX_PIXELS = 80_000_000
"""Pixels of the largest image that is decoded; the largest cameras take 60 million."""

MAX_SIDE = 12_000
"""Pixels of the longest side, since the crop to the field of view is a square of the longest side."""

MAX_BYTES = 512_000_000
"""Bytes of the largest file that is read."""

_LARGE = 30_000_000
"""Images of more pixels are decoded one at a time, so that threads do not multiply their memory."""

_MAX_SCANS = 200
"""Scans of the longest JPEG file that is decoded. Each takes the time of a whole image; encoders write about ten."""

_FORMAT_NAMES = "JPEG, PNG, TIFF, BMP or WebP"
_CUT_OFF = "is cut off, its end is missing: copy it again or leave it out"
_TOO_MANY_PIXELS = (
    f"has more than {MAX_PIXELS // 1_000_000} million pixels or {MAX_SIDE} in a row: make it smaller or leave it out"
)
_SIGNATURES = re.compile(rb"\xff\xd8|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|II[*+]\0|MM\0[*+]", re.DOTALL)
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
"""The end of a JPEG file or a marker with a length; other markers stand among the pixels."""
_JPEG_END = b"\xff\xd9"

_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_TIFF_PIXELS = {
    *range(254, 260), 262, 266, 273, 274, *range(277, 280), 284, 292, 293, 317, 320, *range(322, 326), 338, 339, 347,
    *range(512, 522), *range(529, 533),
}  # fmt: skip
"""Chunks and tags without which the pixels cannot be decoded."""

_Result = TypeVar("_Result")

_one_large = threading.Lock()

# Pillow's messages are about metadata, which no training uses, and about faults that are errors here.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file that was read, whose header is sound and whose end is there."""

    path: Path
    content: bytes = field(repr=False)
    """The bytes of the file, with an end marker if only that was missing."""
    format: str
    """Such as JPEG."""
    size: tuple[int, int]
    """Width and height in pixels, not rotated."""
    digest: str
    """The SHA-256 of the file."""

    @classmethod
    def read(cls, path: Path) -> "ImageFile":
        """Read a file.

        Raises:
            DataError: when it is no regular file, too large, empty, cut off, unreadable or not an image.
        """
        content = _read_bytes(path)
        if not content:
            raise DataError(f"{path} is empty: replace it or leave it out")
        if not _SIGNATURES.match(content):
            raise DataError(
                f"{path} is no image file ({_FORMAT_NAMES}) and cannot be decoded: replace it or leave it out"
            )
        file_format, size = _open(path, content, lambda image: (str(image.format), image.size))
        markers = [marker for marker, _, _ in _jpeg_segments(content)] if content.startswith(b"\xff\xd8") else []
        if (scans := markers.count(0xDA)) > _MAX_SCANS:
            raise DataError(f"{path} has {scans} scans, which take too long to decode: save it anew or leave it out")
        if size[0] * size[1] > MAX_PIXELS or max(size) > MAX_SIDE:
            raise DataError(f"{path} {_TOO_MANY_PIXELS}")
        whole = content if 0xD9 in markers else _to_its_end(path, content)
        return cls(path, whole, file_format, size, hashlib.sha256(content).hexdigest())

    def rgb(self, least: int) -> Image.Image:
        """Return the image as 8-bit RGB, upright, at least ``least`` pixels high and wide where the file is.

        Raises:
            DataError: when the pixels cannot be decoded.
        """

        def decode(image: Image.Image) -> Image.Image:
            # A large JPEG is decoded at a fraction of its size, which is much faster.
            image.draft("RGB", (least, least))
            image.load()
            with contextlib.suppress(Exception):  # metadata that cannot be read say nothing about the orientation
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I") or image.mode == "F":
                image = _to_8_bits(image)
            return image if image.mode == "RGB" else image.convert("RGB")

        with _one_large if self.size[0] * self.size[1] > _LARGE else contextlib.nullcontext():
            return _open(self.path, self.content, decode)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Return grey values of 10 to 16 bits, as X-rays have them, as 8 bits.

    A file of 16 bits often holds the 12 bits of a detector: its white is that of the fewest of 8, 10, 12, 14 or 16 bits
    that hold its brightest pixel. Black stays black.

    Raises:
        ValueError: when the values are not whole numbers of at most 16 bits.
    """
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() >= 1 << 16:
        raise ValueError("its values are no grey values of at most 16 bits, convert it to 8 bits")
    bits = next(bits for bits in (8, 10, 12, 14, 16) if values.max() < 1 << bits)
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8))


def _read_bytes(path: Path) -> bytes:
    """Return the content of a regular file; no other kind of file is opened, since reading a pipe may never end."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a named pipe" if stat.S_ISFIFO(mode) else "a device"
            raise DataError(f"{path} is {kind} and no image file: replace it or leave it out")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): fix it or leave it out") from None
    if len(content) > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES // 1_000_000} MB: make it smaller or leave it out")
    return content


def _open(path: Path, content: bytes, work: Callable[[Image.Image], _Result]) -> _Result:
    """Return what ``work`` makes of the image; where it fails, of the same image without metadata.

    Pillow and its libraries raise exceptions of any type for damaged files, so all types mean the same here.

    Raises:
        DataError: naming the file, when ``work`` fails with both.
    """
    first = None
    for version in _versions(content):
        try:
            with Image.open(BytesIO(version), formats=FORMATS) as image:
                return work(image)
        except Exception as error:  # noqa: BLE001
            first = first or error
    if isinstance(first, Image.DecompressionBombError):
        raise DataError(f"{path} {_TOO_MANY_PIXELS}")
    if not _has_end(content) or "truncated" in str(first):
        raise DataError(f"{path} {_CUT_OFF}")
    reason = " ".join(str(first).split()) or type(first).__name__
    if isinstance(first, UnidentifiedImageError):
        reason = f"its beginning is damaged or not that of {_FORMAT_NAMES}"
    raise DataError(f"{path} cannot be decoded ({reason}): copy it again or leave it out")


def _to_its_end(path: Path, content: bytes) -> bytes:
    """Return content that decoders read to its end; only pixels must not be missing, the end marker may be.

    Raises:
        DataError: when pixels are missing.
    """
    if _has_end(content):
        return content
    if content.startswith(b"\xff\xd8"):
        pixels = content.rstrip(b"\0")  # a copy that was interrupted may be filled with zeros; pixels end otherwise
        scans = [marker for marker, _, _ in _jpeg_segments(pixels) if marker == 0xDA]
        # With all pixels there, what follows does not matter. A progressive file may lack whole scans, which this
        # does not show.
        others = [pixels + _JPEG_END, pixels + b"\x5a" * 64 + _JPEG_END, pixels + b"\xa5" * 64 + _JPEG_END]
        if len(scans) == 1 and len({_open(path, other, Image.Image.tobytes) for other in others}) == 1:
            return others[0]
        raise DataError(f"{path} {_CUT_OFF}")
    if content.startswith(b"RIFF"):
        raise DataError(f"{path} {_CUT_OFF}")
    _open(path, content, lambda image: image.load())  # raises if pixels are missing
    return content


def _has_end(content: bytes) -> bool:
    """Return whether a file has the end that its format has; true for formats without one."""
    if content.startswith(b"\xff\xd8"):
        return any(marker == 0xD9 for marker, _, _ in _jpeg_segments(content))
    if content.startswith(b"\x89PNG"):
        return any(kind == b"IEND" for kind, _, _ in _png_chunks(content))
    if content.startswith(b"RIFF"):
        return int.from_bytes(content[4:8], "little") + 8 <= len(content)
    return True


def _versions(content: bytes) -> Iterator[bytes]:
    """Yield an image file as it is, then without what its pixels do not need."""
    yield content
    if content.startswith(b"\xff\xd8"):
        # The markers of JFIF and Adobe stay: they say which colours the pixels are in.
        dropped = [
            (start, end)
            for marker, start, end in _jpeg_segments(content)
            if marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE)
        ]
        yield _without(content, dropped)
    elif content.startswith(b"\x89PNG"):
        yield _without(content, [(start, end) for kind, start, end in _png_chunks(content) if kind not in _PNG_PIXELS])
    elif content[:4] in {b"II*\0", b"MM\0*"}:
        yield _tiff_pixels(content)


def _without(content: bytes, dropped: Sequence[tuple[int, int]]) -> bytes:
    """Return bytes without those between each start and end, which are in order."""
    starts = [0, *(end for _, end in dropped)]
    ends = [*(start for start, _ in dropped), len(content)]
    return b"".join(content[start:end] for start, end in zip(starts, ends, strict=True))


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the segments of a JPEG file, the end marker last, if it is there.

    Thumbnails are inside segments and trailers are behind the end, so neither is taken for a part of the image.
    """
    position = 2
    while match := _JPEG_MARKER.search(content, position):
        marker = match[1][0]
        position = match.end()
        if marker != 0xD9:
            position += max(2, int.from_bytes(content[position : position + 2], "big"))
        yield marker, match.start(), position
        if marker == 0xD9 or position > len(content):
            return


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the complete chunks of a PNG file, to its end chunk."""
    start = 8
    while start + 12 <= len(content):
        kind = content[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if end > len(content):
            return
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end


def _tiff_pixels(content: bytes) -> bytes:
    """Return a TIFF file whose first directory has only the tags that its pixels need."""
    order = "<" if content.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
    except struct.error:
        return content
    entries = [content[start + 2 + 12 * number : start + 14 + 12 * number] for number in range(count)]
    tags = [int.from_bytes(entry[:2], "little" if order == "<" else "big") for entry in entries]
    kept = [entry for entry, tag in zip(entries, tags, strict=True) if tag in _TIFF_PIXELS]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return content[:start] + directory + content[start + len(directory) :]
