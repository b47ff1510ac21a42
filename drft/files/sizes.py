"""Amounts of bytes: parse, format, and the space on a disk."""

import re
import shutil
from pathlib import Path

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int:
    """Return the bytes of ``20GB``, ``500 MB``, ``1.5GiB`` or ``0``.

    Raises:
        ValueError: when the text is not a size. A number without a unit is none, except 0: 20 may mean bytes or
            gigabytes.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT]?)(I?)B?)", text.strip().upper())
    number, prefix, binary = match.groups() if match else ("", "", "")
    has_unit = text.strip()[-1:].isalpha()
    if match is None or (binary and not prefix) or (not has_unit and float(number)):
        raise ValueError(f"{text!r} is no size: write a number with its unit, such as 20GB or 500MB, or 0")
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[prefix])


def format_size(size: float) -> str:
    """Return bytes as readable text, in powers of 1000: ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.95 or (unit == "bytes" and size < 1000):
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def disk_space(folder: Path) -> tuple[int, int]:
    """Return the total and the free bytes of the disk that holds a folder; the folder need not exist yet.

    Raises:
        OSError: when the disk cannot be read.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    disk = shutil.disk_usage(existing)
    return disk.total, disk.free
