"""Image files that others made: formats, limits, odd metadata and missing pixels."""

import io
import os
import re
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ImageFile import ImageFile as ImageFilePlugin

from drft.data import image_file
from drft.data.image_file import FORMATS, ImageFile
from drft.data.images import decode
from drft.errors import DataError
from tests.helpers import ROOT

SIDE = 64
PIXELS = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n{ } loop\n"


def encoded(kind, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    return file.getvalue()


def pixels_of(path) -> np.ndarray:
    return np.asarray(ImageFile.read(path).rgb(SIDE))


@pytest.fixture
def write(tmp_path):
    """Write content under the name of an image."""

    def write(content: bytes, name: str = "image.png"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file with more chunks behind its header."""
    content = encoded("PNG")
    more = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return content[:33] + more + content[33:]


def jpeg_with(marker: int, body: bytes) -> bytes:
    """Return a JPEG file with one more segment at its beginning."""
    content = encoded("JPEG")
    return content[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + content[2:]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_named_format_is_read_under_any_name(write, kind):
    file = ImageFile.read(write(encoded(kind), "image.jpg"))

    assert (file.format, file.size) == (kind, (SIDE, SIDE))
    assert file.rgb(SIDE).size == (SIDE, SIDE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_give_the_same_pixels(write, kind):
    np.testing.assert_array_equal(pixels_of(write(encoded(kind))), PIXELS)


@pytest.mark.parametrize("content", [POSTSCRIPT, *(kind for kind in ("GIF", "PPM", "ICO", "PDF", "TGA", "EPS"))])
@pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.tif"])
def test_no_other_format_is_opened(write, content, name, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("PostScript was run"))
    path = write(content if isinstance(content, bytes) else encoded(content), name)

    with pytest.raises(DataError, match=rf"{name} is no image file \(JPEG, PNG, TIFF, BMP or WebP\)"):
        ImageFile.read(path)


def test_images_are_opened_in_one_place():
    opening = re.compile(r"Image\.open\(|PIL\.Image import open|imread\(")
    files = [path for room in ("drft", "study") for path in (ROOT / room).rglob("*.py")]
    assert [path.name for path in files if opening.search(path.read_text())] == ["image_file.py"]


ODD_METADATA = {
    "a comment of 2 MB": lambda: png_with((b"zTXt", b"comment\0\0" + zlib.compress(bytes(2 << 20)))),
    "a profile of 2 MB": lambda: png_with((b"iCCP", b"profile\0\0" + zlib.compress(bytes(2 << 20)))),
    "texts of 80 MB": lambda: png_with(*[(b"zTXt", b"comment\0\0" + zlib.compress(bytes(1 << 20)))] * 80),
    "a short chunk": lambda: png_with((b"pHYs", b"12")),
    "EXIF that is none": lambda: png_with((b"eXIf", b"no EXIF")),
    "a wrong check sum": lambda: png_with((b"tEXt", b"a\0b")).replace(b"a\0b", b"a\0c"),
    "text that is not UTF-8": lambda: png_with((b"iTXt", b"\xff\xfe\0\1\0\xff\0\xff\0\xff")),
    "raw EXIF that is none": lambda: png_with((b"tEXt", b"Raw profile type exif\0x\ny\nz\nnot hexadecimal")),
    "bytes behind the end": lambda: encoded("PNG") + bytes(512),
    "a second image behind the end": lambda: encoded("PNG") + encoded("PNG")[:200],
    "a TIFF tag of no type": lambda: tiff_with_entry(struct.pack("<HHII", 700, 999, 2**31, 2**31)),
    "a TIFF description beyond the end": lambda: tiff_with_entry(struct.pack("<HHII", 270, 2, 2**20, 2**30)),
    "a TIFF directory of EXIF beyond the end": lambda: tiff_with_entry(struct.pack("<HHII", 34665, 4, 1, 2**30)),
}


def tiff_with_entry(entry: bytes) -> bytes:
    """Return a TIFF file with one more tag; its directory moves to the end of the file."""
    content = encoded("TIFF")
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    entries = [content[start + 2 + 12 * number :][:12] for number in range(count)] + [entry]
    entries.sort(key=lambda other: struct.unpack_from("<H", other))
    directory = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory


@pytest.mark.parametrize("what", ODD_METADATA)
def test_odd_metadata_cost_the_metadata_and_not_the_image(write, what):
    np.testing.assert_array_equal(pixels_of(write(ODD_METADATA[what]())), PIXELS)


ODD_JPEG = {
    "EXIF that is none": lambda: jpeg_with(0xE1, b"Exif\0\0no EXIF"),
    "EXIF whose directory is beyond the end": lambda: jpeg_with(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    "an orientation of no type": lambda: jpeg_with(
        0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 274, 999, 1, 6)
    ),
    "a list of images that is none": lambda: jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0\x00\xb0\x07\0\x04\0\0\0abcd"),
    "a profile in no order": lambda: jpeg_with(0xE2, b"ICC_PROFILE\0\xff\x01abc"),
    "resources that are none": lambda: jpeg_with(0xED, b"Photoshop 3.0\x008BIM\x03\xed\xff"),
    "zeros behind the end": lambda: encoded("JPEG") + bytes(4096),
    "a motion photo": lambda: encoded("JPEG") + b"\0\0\0\x18ftypmp42" + b"\xff\xda\xff\xd8" * 40,
    "no end marker": lambda: encoded("JPEG")[:-2],
    "no end marker and zeros": lambda: encoded("JPEG")[:-2] + bytes(100),
}


@pytest.mark.parametrize("what", ODD_JPEG)
def test_odd_metadata_of_a_jpeg_cost_the_metadata_and_not_the_image(write, what):
    with Image.open(io.BytesIO(encoded("JPEG"))) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(pixels_of(write(ODD_JPEG[what]())), expected)


def test_images_are_upright(write):
    exif = Image.Exif()
    exif[274] = 6
    np.testing.assert_array_equal(pixels_of(write(encoded("PNG", exif=exif))), np.rot90(PIXELS, 3))


CUT = {
    "PNG": lambda: encoded("PNG")[:-40],
    "PNG filled with zeros": lambda: encoded("PNG")[:-400] + bytes(400),
    "JPEG": lambda: encoded("JPEG")[:-100],
    "JPEG filled with zeros": lambda: encoded("JPEG")[:-500] + bytes(5000),
    "progressive JPEG": lambda: encoded("JPEG", progressive=True)[:-100],
    "JPEG in its header": lambda: encoded("JPEG")[:100],
    "WebP": lambda: encoded("WEBP")[:-100],
    "BMP": lambda: encoded("BMP")[:-100],
    "PNG in its header": lambda: encoded("PNG")[:20],
}


@pytest.mark.parametrize("what", CUT)
def test_cut_off_means_that_pixels_are_missing(write, what):
    path = write(CUT[what]())

    with pytest.raises(DataError, match=r"image\.png is cut off, its end is missing"):
        ImageFile.read(path).rgb(SIDE)


@given(st.sampled_from(FORMATS), st.data())
def test_damage_is_one_line_that_names_the_image(tmp_path_factory, kind, data):
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content), 600) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(content)
    try:
        decode(path, 16)
    except DataError as error:
        (fault,) = error.faults
        assert fault.startswith(f"{path} ")
        assert "\n" not in fault


@pytest.mark.parametrize(
    "error", [RecursionError, MemoryError, struct.error, KeyError, ZeroDivisionError, AttributeError, RuntimeError]
)
@pytest.mark.parametrize("step", ["load", "draft"])
def test_every_way_to_fail_names_the_image(write, monkeypatch, error, step):
    def fail(*_):
        raise error

    path = write(encoded("JPEG"))
    file = ImageFile.read(path)
    monkeypatch.setattr(f"PIL.JpegImagePlugin.JpegImageFile.{step}", fail)
    with pytest.raises(DataError, match=re.escape(f"{path} cannot be decoded (")):
        file.rgb(16)


class TestSpecialFiles:
    """Files that are no regular files are never opened, since reading them may not end."""

    def test_named_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "image.png")
        with pytest.raises(DataError, match=r"image\.png is a named pipe"):
            decode(tmp_path / "image.png", 16)

    def test_device(self, tmp_path):
        (tmp_path / "image.png").symlink_to("/dev/zero")
        with pytest.raises(DataError, match=r"image\.png is a device"):
            decode(tmp_path / "image.png", 16)

    def test_folder(self, tmp_path):
        (tmp_path / "image.png").mkdir()
        with pytest.raises(DataError, match=r"image\.png is a folder"):
            decode(tmp_path / "image.png", 16)

    def test_link_to_itself(self, tmp_path):
        (tmp_path / "image.png").symlink_to("image.png")
        with pytest.raises(DataError, match=r"image\.png cannot be read"):
            decode(tmp_path / "image.png", 16)

    def test_large_file(self, write, monkeypatch):
        path = write(encoded("PNG") + bytes(10_000_000))
        monkeypatch.setattr(image_file, "MAX_BYTES", 5_000_000)
        with pytest.raises(DataError, match=r"image\.png has more than 5 MB"):
            decode(path, 16)


@pytest.mark.parametrize("size", [(9_000, 9_000), (13_000, 13_000), (60_000, 60_000), (100_000, 1), (1, 2**31 - 1)])
def test_images_of_too_many_pixels_are_not_decoded(write, size):
    content = encoded("PNG")
    header = struct.pack(">II", *size) + content[24:29]
    path = write(content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:])
    with pytest.raises(DataError, match=r"image\.png has more than 80 million pixels or 12000 in a row"):
        decode(path, 16)


def test_a_jpeg_of_a_thousand_scans_is_not_decoded(write):
    content = encoded("JPEG", progressive=True)
    last = content.rfind(b"\xff\xda")
    path = write(content[:last] + content[last:-2] * 1000 + b"\xff\xd9")
    with pytest.raises(DataError, match=r"has 10\d\d scans"):
        decode(path, 16)


def test_large_images_are_decoded_one_at_a_time(write, monkeypatch):
    monkeypatch.setattr(image_file, "_LARGE", 100)
    path, running, most = write(encoded("PNG")), [], []

    def load(image):
        if not image.tile:  # its pixels are decoded already
            return loaded(image)
        running.append(1)
        most.append(len(running))
        pixels = loaded(image)
        running.pop()
        return pixels

    loaded = ImageFilePlugin.load
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    threads = [threading.Thread(target=decode, args=(path, 16)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
