"""One file of activations: safetensors with a checksum, memory-mapped when read.

Every byte but the checksum's own is in the checksum, the header too: a file cut off, torn by a power cut or changed
on the disk is found out when it is opened.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

Activations = tuple[Tensor, ...]
"""What crosses a boundary; rows are images."""

SCHEMA = "1"
"""Raised when files are written otherwise; others are taken for damaged."""

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
}

_BEFORE_CHECKSUM = b'{"__metadata__":{"crc32":"'
"""How the header begins. The checksum is known last, so its place must be."""

_CHECKSUM_AT = 8 + len(_BEFORE_CHECKSUM)

_CHUNK = 2**20


class DamagedFileError(Exception):
    """A file that does not hold what was written to it."""


class CacheEntry:
    """Activations of many images, in memory or mapped from a file.

    Args:
        tensors: one for each tensor that crosses the boundary, contiguous on the CPU, images first.
        channels_last: which of them have shape (images, height, width, channels) but are given back as
            (images, channels, height, width) with channels last in memory.
        stored: whether they are on disk, for others too.
    """

    def __init__(self, tensors: Activations, channels_last: tuple[bool, ...], *, stored: bool) -> None:
        self.tensors = tensors
        self.channels_last = channels_last
        self.stored = stored

    @classmethod
    def in_memory(cls, activations: Activations) -> "CacheEntry":
        """Return an entry of its own memory format for each tensor; tensors on the CPU are not copied.

        Raises:
            TypeError: when a tensor is neither of a common float type nor of bytes.
        """
        for tensor in activations:
            if tensor.dtype not in _DTYPES:
                raise TypeError(f"activations of {tensor.dtype} cannot be kept: use a float type or uint8")
        on_cpu = [tensor.detach().cpu() for tensor in activations]
        channels_last = tuple(_is_channels_last(tensor) for tensor in on_cpu)
        packed = (t.permute(0, 2, 3, 1) if last else t for t, last in zip(on_cpu, channels_last, strict=True))
        return cls(tuple(tensor.contiguous() for tensor in packed), channels_last, stored=False)

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def rows(self, indices: NDArray[np.int64] | Tensor) -> Activations:
        """Copy the activations of some images.

        Args:
            indices: which rows, in any order, repeated if need be; shape (rows,).

        Returns:
            New tensors on the CPU, in the memory format they were put in with; never views of a file.

        Raises:
            IndexError: when there is no such row.
        """
        wanted = torch.as_tensor(indices, dtype=torch.int64, device="cpu")
        gathered = (tensor.index_select(0, wanted) for tensor in self.tensors)
        pairs = zip(gathered, self.channels_last, strict=True)
        return tuple(tensor.permute(0, 3, 1, 2) if last else tensor for tensor, last in pairs)


def write_entry(path: Path, entry: CacheEntry) -> None:
    """Write an entry over a file that is there already, as large as ``entry_file_size`` says.

    Raises:
        OSError: when the disk is full or cannot be written.
    """
    header, order = _header(entry)
    with path.open("r+b") as file:
        checksum = _write(file, header[:_CHECKSUM_AT], 0)
        file.seek(8, 1)
        checksum = _write(file, header[_CHECKSUM_AT + 8 :], checksum)
        for tensor in order:
            checksum = _write(file, tensor.reshape(-1).view(torch.uint8).numpy().data, checksum)
        file.seek(_CHECKSUM_AT)
        file.write(f"{checksum:08x}".encode())


def entry_file_size(entry: CacheEntry) -> int:
    """Return the bytes that the file of an entry takes."""
    return len(_header(entry)[0]) + entry.size


def open_entry(path: Path, *, verify: bool) -> CacheEntry:
    """Map the file of an entry into memory; it is read as rows are asked for, and stays usable when it is deleted.

    Args:
        path: the file.
        verify: whether to read it through once and compare its checksum.

    Raises:
        DamagedError: when it does not hold what ``write_entry`` wrote.
        OSError: when it is missing or cannot be read.
    """
    if verify:
        _verify(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            about = file.metadata() or {}
            if about.get("schema") != SCHEMA:
                raise DamagedFileError("written by another version")
            channels_last = tuple(bool(flag) for flag in json.loads(about["channels_last"]))
            tensors = tuple(file.get_tensor(str(index)) for index in range(len(channels_last)))
    except (SafetensorError, KeyError, ValueError) as error:
        raise DamagedFileError(str(error)) from None
    return CacheEntry(tensors, channels_last, stored=True)


def _is_channels_last(tensor: Tensor) -> bool:
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return is_last and not tensor.is_contiguous()


def _header(entry: CacheEntry) -> tuple[bytes, list[Tensor]]:
    """Return the safetensors header, its checksum zero, and the tensors in the order of the file.

    Wide types come first, so that every tensor begins at a multiple of its item size.
    """
    flags = json.dumps([int(flag) for flag in entry.channels_last])
    fields: dict[str, object] = {"__metadata__": {"crc32": "0" * 8, "schema": SCHEMA, "channels_last": flags}}
    order = sorted(enumerate(entry.tensors), key=lambda numbered: -numbered[1].itemsize)
    end = 0
    for index, tensor in order:
        begin, end = end, end + tensor.nbytes
        fields[str(index)] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text, [tensor for _, tensor in order]


def _write(file: BinaryIO, data: bytes | memoryview, checksum: int) -> int:
    """Write bytes, taking the checksum of each chunk while it is in the processor's cache."""
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        checksum = zlib.crc32(chunk, checksum)
        file.write(chunk)
    return checksum


def _verify(path: Path) -> None:
    with path.open("rb") as file:
        before = file.read(_CHECKSUM_AT)
        written = file.read(8)
        checksum = zlib.crc32(before)
        for chunk in _chunks(file):
            checksum = zlib.crc32(chunk, checksum)
    if written != f"{checksum:08x}".encode():
        raise DamagedFileError("its checksum is wrong")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")
