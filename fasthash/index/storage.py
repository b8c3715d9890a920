# SPDX-License-Identifier: Apache-2.0
"""The file of a HammingIndex: safetensors whose tensors are the memory of the index.

Version 2 holds `codes` (G, words, 8) int64 in the scan layout, as `fasthash.PackedDatabase` describes it, and `ids`
(N,) int64. The codes come first and begin at a multiple of 64 bytes, so that a mapped file is searched as it lies.
Version 1 holds `codes` (N, W) uint8 rows and `ids`. The metadata has the format's name and version, the code length in
bits and the next automatic id. Reading looks at everything before anything is used, and never unpickles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import NamedTuple

import safetensors
import torch
from torch import Tensor

from fasthash.errors import FileFormatError
from fasthash.files import atomic_write
from fasthash.index import layout
from fasthash.index.code_store import CodeStore
from fasthash.packed_database import LINE_BYTES, shape_of

FORMAT = "fasthash.hamming_index"
VERSION = 2
VERSION_OF_ROWS = 1

_CHUNK = 1 << 23  # numbers of 8 bytes on the way to the file

Path = str | os.PathLike[str]


class IndexState(NamedTuple):
    """Everything an index is made of."""

    bits: int
    next_id: int
    store: CodeStore


def width_of(bits: int) -> int:
    """Bytes of a packed code."""
    return (bits + 7) // 8


def has_spare_bits(codes: Tensor, bits: int) -> bool:
    """Whether any packed code (N, W) has a bit set behind its last one."""
    spare = -bits % 8
    return spare > 0 and bool((codes[:, -1] & ((1 << spare) - 1)).any())


def write_index(path: Path, state: IndexState) -> None:
    """Writes an index file, without a copy of the index in memory; an old one at `path` survives any error."""
    words, ids = state.store.database.words, state.store.ids
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "bits": str(state.bits),
        "next_id": str(state.next_id),
    }
    with atomic_write(path) as file:
        file.write(_header(metadata, {"codes": words, "ids": ids}))
        for part in _parts(words, ids):
            file.write(part.numpy().data)


def read_index(path: Path, device: torch.device | None, *, pinned: bool = False) -> IndexState:
    """Reads and checks an index file.

    Args:
        path: the file.
        device: where the codes shall lie; None maps the file in place of reading it, and of what codes and ids hold
            only the first and the last id are looked at.
        pinned: as in `CodeStore`.

    Raises:
        FileFormatError: the file is truncated, is no index, or holds what no index can hold.
        OSError: the file cannot be read.
        MemoryError: there is no room for the codes.
    """
    with open(path, "rb"):  # a missing file or a folder is an OSError, not a wrong format
        pass
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            version = _check_header(path, metadata, set(file.keys()))
            codes, ids = (file.get_tensor(name) for name in ("codes", "ids"))  # mapped, not read
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"{path}: not a whole safetensors file ({error})") from error
    bits, next_id = (_number(path, metadata, key) for key in ("bits", "next_id"))
    _check_shapes(path, version, bits, codes, ids)
    _check_ids(path, ids, next_id, every=device is not None)
    if version == VERSION_OF_ROWS:
        _require(device is not None, path, f"a file of version {version} cannot be mapped; load and save it once")
        assert device is not None
        _require(not has_spare_bits(codes, bits), path, f"codes have bits set behind bit {bits}")
        store = CodeStore.empty(width_of(bits), device, pinned=pinned)
        return IndexState(bits, next_id, store.appended(codes, ids))
    store = CodeStore(codes, ids, len(ids), width_of(bits))
    if device is None:
        aligned = codes.data_ptr() % LINE_BYTES == 0
        _require(aligned, path, "codes must begin at a multiple of 64 bytes to be mapped; load and save it once")
        return IndexState(bits, next_id, store)
    spare = layout.has_bits_behind(codes, width_of(bits), bits)
    _require(not spare, path, f"codes have bits set behind bit {bits}")
    return IndexState(bits, next_id, store.to(device, pinned=pinned))


def _header(metadata: dict[str, str], tensors: dict[str, Tensor]) -> bytes:
    """The head of a safetensors file of int64 tensors, filled up so that they begin at a multiple of 64 bytes."""
    entries: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + 8 * tensor.numel()
        entries[name] = {"dtype": "I64", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % LINE_BYTES)
    return len(text).to_bytes(8, "little") + text


def _parts(*tensors: Tensor) -> Iterator[Tensor]:
    """Their numbers one after the other, some at a time, on the CPU."""
    for tensor in tensors:
        for part in torch.split(tensor.flatten(), _CHUNK):
            yield part.cpu()


def _require(condition: bool, path: Path, problem: str) -> None:
    if not condition:
        raise FileFormatError(f"{path}: {problem}")


def _check_header(path: Path, metadata: dict[str, str], names: set[str]) -> int:
    """The version of the file."""
    found = metadata.get("format")
    _require(found == FORMAT, path, f"not a file of HammingIndex (format must be {FORMAT!r}, got {found!r})")
    version = _number(path, metadata, "version")
    known = version in (VERSION_OF_ROWS, VERSION)
    text = f"version must be {VERSION_OF_ROWS} or {VERSION}, got {version}; a newer fasthash may read it"
    _require(known, path, text)
    _require(
        names == {"codes", "ids"}, path, f"tensors must be codes and ids, got {', '.join(sorted(names)) or 'none'}"
    )
    return version


def _number(path: Path, metadata: dict[str, str], key: str) -> int:
    text = metadata.get(key, "")
    fine = text.isascii() and text.isdigit() and len(text) <= 19
    _require(fine, path, f"{key} must be a number >= 0, got {text[:40]!r}")
    return int(text)


def _check_shapes(path: Path, version: int, bits: int, codes: Tensor, ids: Tensor) -> None:
    _require(bits >= 1, path, "bits must be >= 1, got 0")
    good = ids.dtype == torch.int64 and ids.dim() == 1
    _require(good, path, f"ids must be int64 of shape (N,), got {ids.dtype} {tuple(ids.shape)}")
    dtype: torch.dtype = torch.int64
    shape: tuple[int, ...] = shape_of(len(ids), width_of(bits))
    if version == VERSION_OF_ROWS:
        dtype, shape = torch.uint8, (len(ids), width_of(bits))
    name = str(dtype).removeprefix("torch.")
    text = f"codes must be {name} of shape {shape} for {len(ids)} codes of {bits} bits"
    _require(codes.dtype == dtype and codes.shape == shape, path, f"{text}, got {codes.dtype} {tuple(codes.shape)}")


def _check_ids(path: Path, ids: Tensor, next_id: int, *, every: bool) -> None:
    if len(ids):
        first, last = int(ids[0]), int(ids[-1])
        ascending = first >= 0 and last - first >= len(ids) - 1
        ascending = ascending and not (every and bool((ids[1:] <= ids[:-1]).any()))
        _require(ascending, path, "ids must be >= 0, ascending and unique")
        _require(next_id > last, path, f"next_id must be above the last id {last}, got {next_id}")
