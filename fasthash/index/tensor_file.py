# SPDX-License-Identifier: Apache-2.0
"""safetensors files whose tensors are written from, read into, or mapped as memory: no second copy of them.

The safetensors package maps a file privately, which counts as memory in use: a file larger than memory cannot be
opened. Such files are the purpose here. So the head of the file, a length and JSON, is read and checked by hand.
"""

from __future__ import annotations

import json
import mmap
import os
import warnings
from collections.abc import Iterator
from math import prod
from typing import BinaryIO, NamedTuple, NoReturn

import torch
from torch import Tensor

from fasthash.errors import FileFormatError
from fasthash.files import atomic_write

ALIGNMENT = 64  # of the first tensor

_CHUNK = 1 << 26  # bytes on the way between a file and a device
_MAX_HEADER = 100_000_000  # the limit of the format
_DTYPES = {"I64": torch.int64, "U8": torch.uint8}


class Entry(NamedTuple):
    """One tensor of a file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int  # of its bytes in the file


def write(path: str | os.PathLike[str], metadata: dict[str, str], tensors: dict[str, Tensor]) -> None:
    """Writes contiguous tensors of whole numbers from any device; an old file at `path` survives any error."""
    names = {dtype: name for name, dtype in _DTYPES.items()}
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            for part in _chunks(tensor):
                file.write(part.cpu().numpy().data)


class TensorFile:
    """An open safetensors file, its head checked: every tensor lies in the file, and nothing else does.

    Raises:
        FileFormatError: it is no safetensors file, or not all of one, or holds tensors of other numbers than int64 and
            uint8.
    """

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO) -> None:
        self._path, self._file = path, file
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            self._fail(f"{size} bytes with a header of {length}")
        try:
            header = json.loads(file.read(length))
            self.metadata = _metadata(header)
            self.entries = {name: _entry(entry, 8 + length) for name, entry in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._fail(f"a header that cannot be read, {type(error).__name__}: {str(error)[:100]}", error)
        self._check_places(8 + length, size)

    def read(self, name: str, place: Tensor) -> None:
        """Reads a tensor into contiguous memory of as many bytes, on any device."""
        self._file.seek(self.entries[name].begin)
        for part in _chunks(place):
            target = part if part.device.type == "cpu" else torch.empty(part.shape, dtype=torch.uint8)
            if self._file.readinto(target.numpy()) != len(target):  # type: ignore[attr-defined]
                self._fail("less than there was when it was opened")
            if target is not part:
                part.copy_(target)

    def mapped(self, name: str) -> Tensor:
        """A tensor as it lies in the file, whose pages all processes share; to write to it ends the process."""
        dtype, shape, begin = self.entries[name]
        if not prod(shape):
            return torch.empty(shape, dtype=dtype)
        pages = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            return torch.frombuffer(pages, dtype=dtype, count=prod(shape), offset=begin).view(shape)

    def _check_places(self, begin: int, size: int) -> None:
        for entry in sorted(self.entries.values(), key=lambda entry: entry.begin):
            if entry.begin != begin:
                self._fail(f"a tensor at {entry.begin} where {begin} was due")
            begin += prod(entry.shape) * entry.dtype.itemsize
        if begin != size:
            self._fail(f"{size} bytes in place of {begin}")

    def _fail(self, problem: str, cause: BaseException | None = None) -> NoReturn:
        raise FileFormatError(f"{self._path}: not a whole safetensors file of integers ({problem})") from cause


def _metadata(header: dict[str, object]) -> dict[str, str]:
    """Takes the metadata out of a header."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("metadata that are not text")
    return metadata


def _entry(entry: dict[str, object], data: int) -> Entry:
    """A tensor's entry of a header, checked; its data begin behind byte `data`."""
    dtype, shape, offsets = _DTYPES[str(entry["dtype"])], entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
            raise ValueError(f"{numbers} where sizes were due")
    assert isinstance(shape, list) and isinstance(offsets, list)  # noqa: PT018
    begin, end = offsets
    if end - begin != prod(shape) * dtype.itemsize:
        raise ValueError(f"bytes {begin} to {end} for {shape} {dtype}")
    return Entry(dtype, tuple(shape), data + begin)


def _chunks(tensor: Tensor) -> Iterator[Tensor]:
    """The bytes of a contiguous tensor, some at a time."""
    return iter(torch.split(tensor.view(-1).view(torch.uint8), _CHUNK))
