# SPDX-License-Identifier: Apache-2.0
"""The file of a HammingIndex: safetensors whose tensors are the memory of the index.

Version 2 holds `codes` (G, words, 8) int64 in the scan layout, as `fasthash.PackedDatabase` describes it, and `ids`
(N,) int64. The codes begin at a multiple of 64 bytes, so that a mapped file is searched as it lies. Version 1 holds
`codes` (N, W) uint8 rows and `ids`. The metadata has the format's name and version, the code length in bits and the
next automatic id. Reading looks at everything before anything is used, and never unpickles.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch import Tensor

from fasthash.errors import FileFormatError
from fasthash.index import layout, tensor_file
from fasthash.index.code_store import CodeStore
from fasthash.index.tensor_file import TensorFile
from fasthash.packed_database import shape_of

FORMAT = "fasthash.hamming_index"
VERSION = 2
VERSION_OF_ROWS = 1

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
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "bits": str(state.bits),
        "next_id": str(state.next_id),
    }
    tensor_file.write(path, metadata, {"codes": state.store.database.words, "ids": state.store.ids})


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
    with open(path, "rb") as opened:
        file = TensorFile(path, opened)
        version = _check_header(path, file)
        bits, next_id = (_number(path, file.metadata, key) for key in ("bits", "next_id"))
        _check_shapes(path, version, bits, file)
        if device is None:
            store = _mapped(path, version, bits, file)
        else:
            place = CodeStore.empty(width_of(bits), device, pinned=pinned, capacity=file.entries["ids"].shape[0])
            store = _read(file, place) if version == VERSION else _read_rows(path, bits, file, place)
    _check_ids(path, store.ids, next_id, every=device is not None)
    if version == VERSION and device is not None:
        spare = layout.has_bits_behind(store.words, store.width, bits)
        _require(not spare, path, f"codes have bits set behind bit {bits}")
    return IndexState(bits, next_id, store)


def _mapped(path: Path, version: int, bits: int, file: TensorFile) -> CodeStore:
    _require(version == VERSION, path, f"a file of version {version} cannot be mapped; load and save it once")
    aligned = file.entries["codes"].begin % tensor_file.ALIGNMENT == 0
    _require(aligned, path, "codes must begin at a multiple of 64 bytes to be mapped; load and save it once")
    words, ids = file.mapped("codes"), file.mapped("ids")
    return CodeStore(words, ids, len(ids), width_of(bits))


def _read(file: TensorFile, place: CodeStore) -> CodeStore:
    file.read("codes", place.words)
    file.read("ids", place.capacity_ids)
    return CodeStore(place.words, place.capacity_ids, len(place.capacity_ids), place.width, place.pinned)


def _read_rows(path: Path, bits: int, file: TensorFile, place: CodeStore) -> CodeStore:
    """The codes of a file of version 1."""
    rows, ids = (torch.empty(file.entries[name].shape, dtype=file.entries[name].dtype) for name in ("codes", "ids"))
    file.read("codes", rows)
    file.read("ids", ids)
    _require(not has_spare_bits(rows, bits), path, f"codes have bits set behind bit {bits}")
    return place.appended(rows, ids)


def _require(condition: bool, path: Path, problem: str) -> None:
    if not condition:
        raise FileFormatError(f"{path}: {problem}")


def _check_header(path: Path, file: TensorFile) -> int:
    """The version of the file."""
    found = file.metadata.get("format")
    _require(found == FORMAT, path, f"not a file of HammingIndex (format must be {FORMAT!r}, got {found!r})")
    version = _number(path, file.metadata, "version")
    text = f"version must be {VERSION_OF_ROWS} or {VERSION}, got {version}; a newer fasthash may read it"
    _require(version in (VERSION_OF_ROWS, VERSION), path, text)
    names = ", ".join(sorted(file.entries)) or "none"
    _require(names == "codes, ids", path, f"tensors must be codes and ids, got {names}")
    return version


def _number(path: Path, metadata: dict[str, str], key: str) -> int:
    text = metadata.get(key, "")
    fine = text.isascii() and text.isdigit() and len(text) <= 19
    _require(fine, path, f"{key} must be a number >= 0, got {text[:40]!r}")
    return int(text)


def _check_shapes(path: Path, version: int, bits: int, file: TensorFile) -> None:
    _require(bits >= 1, path, "bits must be >= 1, got 0")
    codes, ids = file.entries["codes"], file.entries["ids"]
    good = ids.dtype == torch.int64 and len(ids.shape) == 1
    _require(good, path, f"ids must be int64 of shape (N,), got {_text(ids.dtype, ids.shape)}")
    count, width = ids.shape[0], width_of(bits)
    expected = (torch.uint8, (count, width)) if version == VERSION_OF_ROWS else (torch.int64, shape_of(count, width))
    text = f"codes must be {_text(*expected)} for {count} codes of {bits} bits, got {_text(codes.dtype, codes.shape)}"
    _require((codes.dtype, codes.shape) == expected, path, text)


def _text(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {shape}"


def _check_ids(path: Path, ids: Tensor, next_id: int, *, every: bool) -> None:
    if len(ids):
        first, last = int(ids[0]), int(ids[-1])
        ascending = first >= 0 and last - first >= len(ids) - 1
        ascending = ascending and not (every and bool((ids[1:] <= ids[:-1]).any()))
        _require(ascending, path, "ids must be >= 0, ascending and unique")
        _require(next_id > last, path, f"next_id must be above the last id {last}, got {next_id}")
