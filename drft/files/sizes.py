"""Amounts of bytes, as people write them and as the disk has them."""

import re
import shutil
from pathlib import Path

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int:
    """Return the bytes of ``20GB``, ``500 MB``, ``1.5GiB`` or ``0``.

    Raises:
        ValueError: when it is no size. A bare number other than 0 is none: 20 could be bytes or gigabytes.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT]?)(I?)B?)", text.strip().upper())
    number, prefix, binary = found.groups() if found else ("", "", "")
    bare = not text.strip()[-1:].isalpha()
    if found is None or (binary and not prefix) or (bare and float(number)):
        raise ValueError(f"{text!r} is no size: write a number with its unit, such as 20GB or 500MB, or 0")
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[prefix])


def format_size(size: float) -> str:
    """Return bytes for people, in powers of 1000: ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.95 or (unit == "bytes" and size < 1000):
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def disk_space(folder: Path) -> tuple[int, int]:
    """Return the total and the free bytes of the disk that holds a folder, or would hold it.

    Raises:
        OSError: when the disk cannot be asked.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    disk = shutil.disk_usage(there)
    return disk.total, disk.free
