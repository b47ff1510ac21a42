"""The file of one cache entry: activations as safetensors with a checksum, memory-mapped when read.

The checksum covers every byte of the file but its own, so a file that was truncated, changed or only partly written
before a power cut is recognized when it is opened.
"""

import json
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

Activations = tuple[Tensor, ...]
"""The tensors at one boundary of a network, images first: row i belongs to image i."""

SCHEMA = "1"
"""Version of the file format; files of other versions count as damaged."""

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
}

_BEFORE_CHECKSUM = b'{"__metadata__":{"crc32":"'
"""Beginning of the header. The checksum is written last, so its position in the file must be fixed."""

_CHECKSUM_AT = 8 + len(_BEFORE_CHECKSUM)

_CHUNK = 2**20


class DamagedFileError(Exception):
    """A file that does not hold what was written to it."""


class CacheEntry:
    """Activations of many images, in memory or mapped from a file.

    Args:
        tensors: one for each tensor at the boundary, contiguous, images first; on the CPU where they are in a file.
        channels_last: for each tensor, whether it has shape (images, height, width, channels) but is returned as
            (images, channels, height, width) with channels last in memory.
        stored: whether the tensors are in a file that other processes can use.
    """

    def __init__(self, tensors: Activations, channels_last: tuple[bool, ...], *, stored: bool) -> None:
        self.tensors = tensors
        self.channels_last = channels_last
        self.stored = stored

    @classmethod
    def in_memory(cls, activations: Activations) -> "CacheEntry":
        """Return an entry that keeps the memory format of each tensor. Tensors on the CPU are not copied.

        Raises:
            TypeError: when a tensor is neither of a common float type nor of bytes.
        """
        for tensor in activations:
            if tensor.dtype not in _DTYPES:
                raise TypeError(f"activations of {tensor.dtype} cannot be kept: use a float type or uint8")
        return cls.on_device(tuple(tensor.detach().cpu() for tensor in activations))

    @classmethod
    def on_device(cls, activations: Activations) -> "CacheEntry":
        """Return an entry that keeps the tensors where they are, and the memory format of each."""
        channels_last = tuple(
            tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
            for tensor in activations
        )
        packed = (t.permute(0, 2, 3, 1) if last else t for t, last in zip(activations, channels_last, strict=True))
        return cls(tuple(tensor.contiguous() for tensor in packed), channels_last, stored=False)

    @property
    def size(self) -> int:
        """Size of all tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def rows(self, indices: NDArray[np.int64] | Tensor) -> Activations:
        """Return copies of the activations of some images.

        Args:
            indices: row numbers in any order, also repeated; shape (rows,).

        Returns:
            New tensors where the entry is, in the memory format of the original tensors; never views of a file.

        Raises:
            IndexError: when there is no such row.
        """
        # From the CPU without waiting for the device: a step should not wait for the one before it.
        selected = torch.as_tensor(indices, dtype=torch.int64).to(self.tensors[0].device, non_blocking=True)
        copies = (tensor.index_select(0, selected) for tensor in self.tensors)
        pairs = zip(copies, self.channels_last, strict=True)
        return tuple(tensor.permute(0, 3, 1, 2) if last else tensor for tensor, last in pairs)


def write_entry(path: Path, entry: CacheEntry) -> None:
    """Write an entry to an existing file of ``entry_file_size`` bytes.

    Raises:
        OSError: when the disk is full or the file cannot be written.
    """
    header, ordered = _header(entry)
    with path.open("r+b") as file:
        checksum = _write(file, header[:_CHECKSUM_AT], 0)
        file.seek(8, 1)
        checksum = _write(file, header[_CHECKSUM_AT + 8 :], checksum)
        for tensor in ordered:
            checksum = _write(file, tensor.reshape(-1).view(torch.uint8).numpy().data, checksum)
        file.seek(_CHECKSUM_AT)
        file.write(f"{checksum:08x}".encode())


def entry_file_size(entry: CacheEntry) -> int:
    """Return the size of the file of an entry, in bytes."""
    return len(_header(entry)[0]) + entry.size


def open_entry(path: Path, *, verify: bool) -> CacheEntry:
    """Return the entry of a file, mapped into memory; it can still be used after the file is deleted.

    Args:
        path: the file.
        verify: whether to read the whole file and compare its checksum.

    Raises:
        DamagedFileError: when the file does not hold what ``write_entry`` wrote.
        OSError: when the file is missing or cannot be read.
    """
    if verify:
        _verify(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != SCHEMA:
                raise DamagedFileError("written by another version")
            channels_last = tuple(bool(flag) for flag in json.loads(metadata["channels_last"]))
            tensors = tuple(file.get_tensor(str(index)) for index in range(len(channels_last)))
    except (SafetensorError, KeyError, ValueError) as error:
        raise DamagedFileError(str(error)) from None
    return CacheEntry(tensors, channels_last, stored=True)


def _header(entry: CacheEntry) -> tuple[bytes, list[Tensor]]:
    """Return the safetensors header with a checksum of zeros, and the tensors in their order in the file.

    Tensors of wide types come first, so that every tensor begins at a multiple of its item size.
    """
    flags = json.dumps([int(flag) for flag in entry.channels_last])
    fields: dict[str, object] = {"__metadata__": {"crc32": "0" * 8, "schema": SCHEMA, "channels_last": flags}}
    ordered = sorted(enumerate(entry.tensors), key=lambda numbered: -numbered[1].itemsize)
    end = 0
    for index, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        fields[str(index)] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text, [tensor for _, tensor in ordered]


def _write(file: BinaryIO, data: bytes | memoryview, checksum: int) -> int:
    """Write bytes and return the updated checksum; each chunk is summed while it is in the processor's cache."""
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        checksum = zlib.crc32(chunk, checksum)
        file.write(chunk)
    return checksum


def _verify(path: Path) -> None:
    with path.open("rb") as file:
        checksum = zlib.crc32(file.read(_CHECKSUM_AT))
        written = file.read(8)
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    if written != f"{checksum:08x}".encode():
        raise DamagedFileError("its checksum is wrong")
