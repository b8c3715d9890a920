# SPDX-License-Identifier: Apache-2.0
"""The file of a HammingIndex: safetensors with two tensors, `codes` (N, W) uint8 and `ids` (N,) int64.

Its metadata holds the format's name and version, the code length in bits and the next automatic id. Reading looks at
everything before anything is used, and never unpickles.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fasthash.errors import FileFormatError
from fasthash.files import atomic_write

FORMAT = "fasthash.hamming_index"
VERSION = 1


class IndexState(NamedTuple):
    """Everything an index is made of."""

    bits: int
    next_id: int
    codes: Tensor  # (N, ceil(bits / 8)) uint8
    ids: Tensor  # (N,) int64, ascending


def width_of(bits: int) -> int:
    """Bytes of a packed code."""
    return (bits + 7) // 8


def has_spare_bits(codes: Tensor, bits: int) -> bool:
    """Whether any packed code (N, W) has a bit set behind its last one."""
    spare = -bits % 8
    return spare > 0 and bool((codes[:, -1] & ((1 << spare) - 1)).any())


def write_index(path: str | os.PathLike[str], state: IndexState) -> None:
    """Writes an index file; an old one at `path` survives any error."""
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "bits": str(state.bits),
        "next_id": str(state.next_id),
    }
    tensors = {"codes": state.codes.cpu().contiguous(), "ids": state.ids.cpu().contiguous()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors, metadata))


def read_index(path: str | os.PathLike[str]) -> IndexState:
    """Reads and checks an index file; tensors are on the CPU.

    Raises:
        FileFormatError: the file is truncated, is no index, or holds what no index can hold.
        OSError: the file cannot be read.
    """
    with open(path, "rb"):  # a missing file or a folder is an OSError, not a wrong format
        pass
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            _check_header(path, metadata, set(file.keys()))
            codes, ids = (file.get_tensor(name).clone() for name in ("codes", "ids"))
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"{path}: not a whole safetensors file ({error})") from error
    state = IndexState(_number(path, metadata, "bits"), _number(path, metadata, "next_id"), codes, ids)
    _check_tensors(path, state)
    return state


def _require(condition: bool, path: str | os.PathLike[str], problem: str) -> None:
    if not condition:
        raise FileFormatError(f"{path}: {problem}")


def _check_header(path: str | os.PathLike[str], metadata: dict[str, str], names: set[str]) -> None:
    found = metadata.get("format")
    _require(found == FORMAT, path, f"not a file of HammingIndex (format must be {FORMAT!r}, got {found!r})")
    version = _number(path, metadata, "version")
    _require(version == VERSION, path, f"version must be {VERSION}, got {version}; a newer fasthash may read it")
    _require(
        names == {"codes", "ids"}, path, f"tensors must be codes and ids, got {', '.join(sorted(names)) or 'none'}"
    )


def _number(path: str | os.PathLike[str], metadata: dict[str, str], key: str) -> int:
    text = metadata.get(key, "")
    fine = text.isascii() and text.isdigit() and len(text) <= 19
    _require(fine, path, f"{key} must be a number >= 0, got {text[:40]!r}")
    return int(text)


def _check_tensors(path: str | os.PathLike[str], state: IndexState) -> None:
    bits, next_id, codes, ids = state
    _require(bits >= 1, path, "bits must be >= 1, got 0")
    good = codes.dtype == torch.uint8 and codes.dim() == 2 and codes.shape[1] == width_of(bits)
    got = f"{codes.dtype} {tuple(codes.shape)}"
    _require(good, path, f"codes must be uint8 of shape (N, {width_of(bits)}) for {bits} bits, got {got}")
    good = ids.dtype == torch.int64 and ids.shape == codes.shape[:1]
    _require(good, path, f"ids must be int64 of shape ({codes.shape[0]},), got {ids.dtype} {tuple(ids.shape)}")
    _require(not has_spare_bits(codes, bits), path, f"codes have bits set behind bit {bits}")
    if len(ids):
        _require(bool((ids[1:] > ids[:-1]).all()) and int(ids[0]) >= 0, path, "ids must be >= 0, ascending and unique")
        _require(next_id > int(ids[-1]), path, f"next_id must be above the last id {int(ids[-1])}, got {next_id}")
