# SPDX-License-Identifier: Apache-2.0
"""Exact search over packed codes held in memory."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from fasthash import _checks, ops
from fasthash.index.storage import IndexState, has_spare_bits, read_index, width_of, write_index
from fasthash.types import HammingTopK

PADDING_ID = -1
PADDING_DISTANCE = torch.iinfo(torch.int32).max

_NAME = "HammingIndex"
_MAX_ID = torch.iinfo(torch.int64).max


class HammingIndex:
    """Packed codes with ids, searched exactly by Hamming distance on the CPU or a GPU.

    Codes are rows of `ceil(bits / 8)` bytes as `fasthash.ops.pack_codes` makes them. Results come in the order
    (distance, id), on every device. Ids are unique and >= 0; those the index gives are a counter that only grows and
    is saved with the index, so that none is ever used twice.

    Args:
        bits: code length K >= 1.
        device: where the codes live; queries have to be there too.

    Raises:
        ValueError: `bits` < 1, or a device that is not there.

    Example:
        >>> index = HammingIndex(32)
        >>> index.add(layer.encode(features))
        >>> distances, ids = index.search(layer.encode(queries), k=10)
        >>> index.save("images.fhi")
    """

    def __init__(self, bits: int, device: str | torch.device = "cpu") -> None:
        _checks.require(bits >= 1, _NAME, "bits", ">= 1", bits)
        self._bits = bits
        self._device = _available_device(device)
        self._codes = torch.empty(0, width_of(bits), dtype=torch.uint8, device=self._device)
        self._ids = torch.empty(0, dtype=torch.int64, device=self._device)
        self._count = 0  # rows in use; the tensors grow ahead of it
        self._next_id = 0

    @property
    def bits(self) -> int:
        """Code length K."""
        return self._bits

    @property
    def device(self) -> torch.device:
        """Where the codes live."""
        return self._device

    @property
    def codes(self) -> Tensor:
        """(N, ceil(K / 8)) uint8 packed codes in the order of `ids`; a view, to be read only."""
        return self._codes[: self._count]

    @property
    def ids(self) -> Tensor:
        """(N,) int64 ids, ascending; a view, to be read only."""
        return self._ids[: self._count]

    def __len__(self) -> int:
        """Number of codes N."""
        return self._count

    def __repr__(self) -> str:
        return f"HammingIndex(bits={self._bits}, codes={len(self)}, device={str(self._device)!r})"

    def add(self, codes: Tensor, ids: Tensor | None = None) -> Tensor:
        """Adds codes; on an error nothing is added.

        Args:
            codes: (N, ceil(K / 8)) uint8 packed codes on the device of the index, spare bits zero; N may be 0.
            ids: (N,) integer ids >= 0 in any order, none of them in the index yet. None continues the counter, which
                is always above every id the index has held.

        Returns:
            (N,) int64 ids of the codes, in the order they were given.

        Raises:
            ValueError: codes or ids that are not as described.
        """
        self._check_codes("codes", codes)
        if has_spare_bits(codes, self._bits):
            raise ValueError(f"{_NAME}: codes must be zero behind bit {self._bits}, got bits set")
        if ids is None:
            ids = self._automatic_ids(len(codes))
            self._append(codes, ids)
        else:
            ids = self._checked_ids(ids, len(codes))
            self._insert(codes, ids)
        if len(ids):
            self._next_id = max(self._next_id, int(ids.max()) + 1)
        return ids

    def search(self, queries: Tensor, k: int) -> HammingTopK:
        """The k nearest codes of each query.

        Args:
            queries: (Q, ceil(K / 8)) uint8 packed codes on the device of the index; Q may be 0.
            k: how many, >= 1.

        Returns:
            `HammingTopK`: distances (Q, k) int32 in bits and ids (Q, k) int64, ascending in (distance, id). Where the
            index holds fewer than k codes the rest is id -1 at distance 2147483647.

        Raises:
            ValueError: `k` < 1, or queries that are not as described.
        """
        self._check_codes("queries", queries)
        _checks.require(k >= 1, _NAME, "k", ">= 1", k)
        found = min(k, len(self))
        shape = (len(queries), k)
        distances = torch.full(shape, PADDING_DISTANCE, dtype=torch.int32, device=self._device)
        ids = torch.full(shape, PADDING_ID, dtype=torch.int64, device=self._device)
        if found and len(queries):
            nearest = ops.hamming_topk(queries, self.codes, found)
            distances[:, :found] = nearest.distances
            ids[:, :found] = self.ids[nearest.ids]
        return HammingTopK(distances, ids)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to one safetensors file, replacing it only when all is written.

        Raises:
            OSError: the file cannot be written; an old file at `path` stays as it was.
        """
        write_index(path, IndexState(self._bits, self._next_id, self.codes, self.ids))

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> HammingIndex:
        """Reads an index that `save` wrote; nothing is ever unpickled.

        Raises:
            FileFormatError: a truncated, foreign or tampered file; the text names it and what is wrong.
            OSError: the file cannot be read.
            ValueError: a device that is not there.
        """
        place = _available_device(device)
        state = read_index(path)
        index = cls(state.bits, place)
        index._codes, index._ids = state.codes.to(place), state.ids.to(place)
        index._count, index._next_id = len(state.ids), state.next_id
        return index

    def _check_codes(self, argument: str, codes: Tensor) -> None:
        _checks.require_dtype(_NAME, argument, codes, (torch.uint8,))
        width = width_of(self._bits)
        fits = codes.dim() == 2 and codes.shape[1] == width
        _checks.require(fits, _NAME, argument, f"of shape (rows, {width}) for {self._bits} bits", tuple(codes.shape))
        _checks.require_same_device(_NAME, argument, codes, self._device)

    def _automatic_ids(self, count: int) -> Tensor:
        end = self._next_id + count
        _checks.require(end <= _MAX_ID, _NAME, "ids", "given once automatic ids have run out", "None")
        return torch.arange(self._next_id, end, device=self._device)

    def _checked_ids(self, ids: Tensor, count: int) -> Tensor:
        _checks.require_dtype(_NAME, "ids", ids, _checks.SIGNED_INTEGERS)
        _checks.require(ids.shape == (count,), _NAME, "ids", f"of shape ({count},)", tuple(ids.shape))
        _checks.require_same_device(_NAME, "ids", ids, self._device)
        ids = ids.to(torch.int64, copy=True)
        if count:
            low, high = (int(value) for value in ids.aminmax())
            in_range = low >= 0 and high < _MAX_ID
            _checks.require(in_range, _NAME, "ids", f"in 0..{_MAX_ID - 1}", low if low < 0 else high)
        ordered = ids.sort().values
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        _checks.require(not len(repeated), _NAME, "ids", "unique", f"{_first(repeated)} more than once")
        known = ids[torch.isin(ids, self.ids, assume_unique=True)]
        _checks.require(not len(known), _NAME, "ids", "new to the index", f"{_first(known)}, which it holds")
        return ids

    def _append(self, codes: Tensor, ids: Tensor) -> None:
        """Adds rows whose ids are above all others; capacity doubles, so that many small calls stay cheap."""
        end = self._count + len(ids)
        if end > len(self._ids):
            capacity = max(end, 2 * len(self._ids))
            self._codes = _grown(self.codes, capacity)
            self._ids = _grown(self.ids, capacity)
        self._codes[self._count : end] = codes
        self._ids[self._count : end] = ids
        self._count = end

    def _insert(self, codes: Tensor, ids: Tensor) -> None:
        """Adds rows with ids in any order and keeps the ids ascending."""
        order = ids.argsort()
        codes, ids = codes[order], ids[order]
        if not len(ids) or not self._count or int(ids[0]) > int(self.ids[-1]):
            self._append(codes, ids)
            return
        merged = torch.cat([self.ids, ids])
        order = merged.argsort()
        self._codes, self._ids = torch.cat([self.codes, codes])[order], merged[order]
        self._count = len(merged)


def _available_device(device: str | torch.device) -> torch.device:
    """The device with its number, as tensors name it; ValueError where it is not there."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{_NAME}: device must be one that is there, got {str(device)!r} ({reason})") from error


def _grown(rows: Tensor, capacity: int) -> Tensor:
    grown = rows.new_empty(capacity, *rows.shape[1:])
    grown[: len(rows)] = rows
    return grown


def _first(values: Tensor) -> int | None:
    return int(values[0]) if len(values) else None
