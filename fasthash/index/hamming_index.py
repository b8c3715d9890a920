# SPDX-License-Identifier: Apache-2.0
"""Exact search over packed codes: in memory, on a GPU, or in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor

from fasthash import _checks, ops
from fasthash.index import pieces
from fasthash.index.code_store import CodeStore
from fasthash.index.ids import Ids, as_tensor
from fasthash.index.merge import PADDING_ID, padding
from fasthash.index.pieces import Piece
from fasthash.index.storage import IndexState, has_spare_bits, read_index, width_of, write_index
from fasthash.types import HammingRange, HammingTopK

STORAGES = ("device", "host")

_NAME = "HammingIndex"
_MAX_ID = torch.iinfo(torch.int64).max
_FEW = 64  # where fewer than one code in so many is allowed, those are taken out and searched alone


class HammingIndex:
    """Packed codes with ids, searched exactly by Hamming distance on the CPU or a GPU.

    Codes are rows of `ceil(bits / 8)` bytes as `fasthash.ops.pack_codes` makes them; the index holds them in the layout
    that searches read (`fasthash.PackedDatabase`). Results come in the order (distance, id), the same bit for bit on
    every device. Ids are unique and >= 0; those the index gives are a counter that only grows and is saved with the
    index, so that none is ever used twice.

    Ids may be tensors, lists or arrays.

    Args:
        bits: code length K >= 1.
        device: where searches run; queries have to be there.
        storage: where codes and ids lie: on the `device`, or in `host` memory, page-locked, from where every search
            copies the codes to a GPU piece by piece, for an index that the GPU has no room for. Searching many queries
            at once makes up for the copying. With `host`, codes and ids may also be given on the CPU.

    Raises:
        ValueError: `bits` < 1, a device that is not there, or another storage.

    Example:
        >>> index = HammingIndex(32)
        >>> index.add(layer.encode(features))
        >>> distances, ids = index.search(layer.encode(queries), k=10)
        >>> index.save("images.fhi")
    """

    def __init__(self, bits: int, device: str | torch.device = "cpu", *, storage: str = "device") -> None:
        _checks.require(bits >= 1, _NAME, "bits", ">= 1", bits)
        _checks.require_choice(_NAME, "storage", storage, STORAGES)
        self._bits = bits
        self._device = _available_device(device)
        self._storage = storage
        self._store = CodeStore.empty(width_of(bits), self._place, pinned=self._pinned)
        self._next_id = 0
        self._file: str | None = None  # that is mapped

    @property
    def bits(self) -> int:
        """Code length K."""
        return self._bits

    @property
    def device(self) -> torch.device:
        """Where searches run."""
        return self._device

    @property
    def storage(self) -> str:
        """Where codes and ids lie: `device` or `host`."""
        return self._storage

    @property
    def codes(self) -> Tensor:
        """(N, ceil(K / 8)) uint8 packed codes in the order of `ids`, where they are stored; a copy, made on demand."""
        return self._store.database.rows()

    @property
    def ids(self) -> Tensor:
        """(N,) int64 ids, ascending, where they are stored; a view, to be read only."""
        return self._store.ids

    def __len__(self) -> int:
        """Number of codes N."""
        return self._store.count

    def __contains__(self, number: int) -> bool:
        """Whether the index holds a code with this id."""
        if not 0 <= number < _MAX_ID:
            return False
        return bool(self._store.find(torch.tensor([number], device=self._place))[1])

    def __repr__(self) -> str:
        rest = "" if self._storage == "device" else f", storage={self._storage!r}"
        rest += "" if self._file is None else f", file={self._file!r}"
        return f"HammingIndex(bits={self._bits}, codes={len(self)}, device={str(self._device)!r}{rest})"

    def add(self, codes: Tensor, ids: Ids | None = None) -> Tensor:
        """Adds codes; on an error nothing is added.

        Ids above all others are added in place, with room that doubles when it is used up, so that many small calls
        stay cheap. Others move the codes behind them, which needs memory for a second copy for a while.

        Args:
            codes: (N, ceil(K / 8)) uint8 packed codes, spare bits zero; N may be 0.
            ids: (N,) integer ids >= 0 in any order, none of them in the index yet. None continues the counter, which
                is always above every id the index has held.

        Returns:
            (N,) int64 ids of the codes, in the order they were given.

        Raises:
            ValueError: codes or ids that are not as described, or an index that is mapped from a file.
            MemoryError: there is no room for the codes.
        """
        self._check_writable("add")
        self._check_codes("codes", codes, stored=True)
        if has_spare_bits(codes, self._bits):
            raise ValueError(f"{_NAME}: codes must be zero behind bit {self._bits}, got bits set")
        ids = self._automatic_ids(len(codes)) if ids is None else self._checked_ids(ids, len(codes))
        if len(ids):
            store = self._store.inserted(codes, ids)
            self._next_id = max(self._next_id, int(ids.max()) + 1)  # first: Ctrl-C may cost ids, but not use them twice
            self._store = store
        return ids

    def remove(self, ids: Ids) -> int:
        """Removes codes; on an error nothing is removed. Needs memory for a second copy of the index for a while.

        Automatic ids never use a removed id again; it may be given to `add`.

        Args:
            ids: (n,) integer ids in any order, all of them in the index; one that comes twice is removed once.

        Returns:
            Number of codes removed.

        Raises:
            ValueError: an id that the index does not hold, ids that are not as described, or an index that is mapped
                from a file.
            MemoryError: there is no room for the copy.
        """
        self._check_writable("remove")
        positions = torch.unique(self._positions(ids))
        if len(positions):
            self._store = self._store.without(positions)
        return len(positions)

    def get(self, ids: Ids) -> Tensor:
        """The codes with these ids.

        Args:
            ids: (n,) integer ids in any order, all of them in the index.

        Returns:
            (n, ceil(K / 8)) uint8 packed codes in the order of `ids`, where the index stores them.

        Raises:
            ValueError: an id that the index does not hold, or ids that are not as described.
        """
        return self._store.rows(self._positions(ids))

    def search(self, queries: Tensor, k: int, allow: Ids | None = None) -> HammingTopK:
        """The k nearest codes of each query.

        Args:
            queries: (Q, ceil(K / 8)) uint8 packed codes on the device of the index; Q may be 0.
            k: how many, >= 1.
            allow: the codes that may be found, for all queries: their ids, (n,) integers in any order, of which the
                index ignores those that it does not hold; or (N,) bool in the order of `ids`. It acts inside the
                search: where it leaves k codes or more, k are found. None allows all.

        Returns:
            `HammingTopK`: distances (Q, k) int32 in bits and ids (Q, k) int64, ascending in (distance, id), on the
            device of the index. Where fewer than k codes may be found the rest is id -1 at distance 2147483647.

        Raises:
            ValueError: `k` < 1, or queries or `allow` that are not as described.
        """
        self._check_codes("queries", queries)
        _checks.require(k >= 1, _NAME, "k", ">= 1", k)
        parts, ids = self._candidates(allow)
        if not len(ids):
            return padding(len(queries), k, self._device)
        found = pieces.nearest(queries, parts, k)
        return found._replace(ids=_named(found.ids, ids))

    def range_search(self, queries: Tensor, radius: int, allow: Ids | None = None) -> HammingRange:
        """All codes within a Hamming distance of each query.

        Args:
            queries: (Q, ceil(K / 8)) uint8 packed codes on the device of the index; Q may be 0.
            radius: largest distance in bits, >= 0.
            allow: as in `search`.

        Returns:
            `HammingRange`: offsets (Q + 1,) int64, distances (total,) int32 in bits and ids (total,) int64 on the
            device of the index. Query q has the places `offsets[q]` up to `offsets[q + 1]`, in the order
            (distance, id).

        Raises:
            ValueError: `radius` < 0, or queries or `allow` that are not as described.
            MemoryError: there is no room for the results.
        """
        self._check_codes("queries", queries)
        _checks.require(radius >= 0, _NAME, "radius", ">= 0", radius)
        parts, ids = self._candidates(allow)
        found = pieces.within(queries, parts, radius)
        return found._replace(ids=_named(found.ids, ids))

    def to(self, device: str | torch.device, *, storage: str | None = None) -> HammingIndex:
        """The same index on a device, in memory of its own; itself where nothing changes.

        Args:
            device: where searches run.
            storage: `device` or `host`; None keeps what the index has.

        Raises:
            ValueError: a device that is not there, or another storage.
            MemoryError: there is no room for the codes.
        """
        moved = HammingIndex(self._bits, device, storage=storage or self._storage)
        if self._file is None and (moved._device, moved._storage) == (self._device, self._storage):
            return self
        moved._store = self._store.to(moved._place, pinned=moved._pinned)
        moved._next_id = self._next_id
        return moved

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to one safetensors file, replacing it only when all is written.

        Raises:
            OSError: the file cannot be written; an old file at `path` stays as it was.
        """
        write_index(path, IndexState(self._bits, self._next_id, self._store))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: str | torch.device = "cpu",
        *,
        storage: str = "device",
        mmap: bool = False,
    ) -> HammingIndex:
        """Reads an index that `save` wrote; nothing is ever unpickled.

        Args:
            path: the file.
            device: where searches run.
            storage: as in `HammingIndex`.
            mmap: search the file where it lies instead of reading it: opening takes no time and no memory, processes
                that open one file share it, and it may be larger than memory. Such an index cannot be changed; `to`
                gives one in memory. What the codes and ids hold is trusted, and the file must not be changed in place
                (`save` replaces it, which is safe). With a GPU it needs `storage="host"`.

        Raises:
            FileFormatError: a truncated, foreign or tampered file; the text names it and what is wrong.
            OSError: the file cannot be read.
            ValueError: a device that is not there, another storage, or `mmap` for codes on a GPU.
            MemoryError: there is no room for the codes.
        """
        index = cls(1, device, storage=storage)
        on_host = index._place.type == "cpu"
        _checks.require(on_host or not mmap, _NAME, "storage", "'host' where a file is mapped for a GPU", repr(storage))
        state = read_index(path, None if mmap else index._place, pinned=index._pinned)
        index._bits, index._next_id, index._store = state
        index._file = os.fspath(path) if mmap else None
        return index

    @property
    def _place(self) -> torch.device:
        """Where codes and ids are stored."""
        return torch.device("cpu") if self._storage == "host" else self._device

    @property
    def _pinned(self) -> bool:
        return self._storage == "host" and self._device.type == "cuda"

    def _candidates(self, allow: Ids | None) -> tuple[Iterable[Piece], Tensor]:
        """The codes to search, in pieces on the device, and the ids of their positions."""
        database, ids = self._store.database, self._store.ids
        allowed = None if allow is None else self._allowed(allow)
        if allowed is not None and allowed.dtype == torch.int64:
            return [Piece(0, self._store.rows(allowed).to(self._device), None)], ids[allowed]
        mask = None if allowed is None else ops.pack_codes(allowed).to(self._device)
        if self._storage == "device" or not len(self):
            return [Piece(0, database.to(self._device), mask)], ids
        return pieces.streamed(database, mask, self._device), ids

    def _allowed(self, allow: Ids) -> Tensor:
        """The codes that may be found: (N,) bool, or, where they are few, their positions int64, ascending."""
        allow = as_tensor(_NAME, "allow", allow, self._place)
        self._check_device("allow", allow)
        if allow.dtype == torch.bool:
            _checks.require(allow.shape == (len(self),), _NAME, "allow", f"of shape ({len(self)},)", tuple(allow.shape))
            allow = allow.to(self._place)
            return allow.nonzero().flatten() if int(allow.sum()) * _FEW <= len(self) else allow
        positions, known = self._store.find(self._integers("allow", allow))
        positions = positions[known]
        if len(positions) * _FEW <= len(self):
            few: Tensor = torch.unique(positions)
            return few
        return torch.zeros(len(self), dtype=torch.bool, device=self._place).index_fill_(0, positions, True)

    def _positions(self, ids: Ids) -> Tensor:
        """Where ids are; refuses those that the index does not hold."""
        ids = as_tensor(_NAME, "ids", ids, self._place)
        self._check_device("ids", ids)
        ids = self._integers("ids", ids)
        positions, known = self._store.find(ids)
        missing = ids[~known]
        text = f"{_first(missing)}, which it does not" + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
        _checks.require(not len(missing), _NAME, "ids", "ids that the index holds", text)
        return positions

    def _integers(self, argument: str, ids: Tensor) -> Tensor:
        """Ids (n,) of any signed integer dtype as int64, where the codes are stored."""
        _checks.require_dtype(_NAME, argument, ids, _checks.SIGNED_INTEGERS)
        _checks.require(ids.dim() == 1, _NAME, argument, "of shape (n,)", tuple(ids.shape))
        return ids.to(self._place, torch.int64)

    def _check_writable(self, verb: str) -> None:
        if self._file is not None:
            raise ValueError(
                f"{_NAME}: {verb} needs an index in memory, got one that is mapped from {self._file}; "
                "index.to(index.device) copies it"
            )

    def _check_codes(self, argument: str, codes: Tensor, *, stored: bool = False) -> None:
        _checks.require_dtype(_NAME, argument, codes, (torch.uint8,))
        width = width_of(self._bits)
        fits = codes.dim() == 2 and codes.shape[1] == width
        _checks.require(fits, _NAME, argument, f"of shape (rows, {width}) for {self._bits} bits", tuple(codes.shape))
        if stored:
            self._check_device(argument, codes)
        else:
            _checks.require_same_device(_NAME, argument, codes, self._device)

    def _check_device(self, argument: str, tensor: Tensor) -> None:
        """Refuses what is neither on the device nor, if the codes are not either, where these are."""
        if tensor.device != self._place:
            _checks.require_same_device(_NAME, argument, tensor, self._device)

    def _automatic_ids(self, count: int) -> Tensor:
        end = self._next_id + count
        _checks.require(end <= _MAX_ID, _NAME, "ids", "given once automatic ids have run out", "None")
        return torch.arange(self._next_id, end, device=self._place)

    def _checked_ids(self, ids: Ids, count: int) -> Tensor:
        """Ids of new codes as int64, where they will be stored: a copy."""
        ids = as_tensor(_NAME, "ids", ids, self._place)
        _checks.require_dtype(_NAME, "ids", ids, _checks.SIGNED_INTEGERS)
        _checks.require(ids.shape == (count,), _NAME, "ids", f"of shape ({count},)", tuple(ids.shape))
        self._check_device("ids", ids)
        ids = ids.to(self._place, torch.int64, copy=True)
        if count:
            low, high = (int(value) for value in ids.aminmax())
            in_range = low >= 0 and high < _MAX_ID
            _checks.require(in_range, _NAME, "ids", f"in 0..{_MAX_ID - 1}", low if low < 0 else high)
        ordered = ids.sort().values
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        _checks.require(not len(repeated), _NAME, "ids", "unique", f"{_first(repeated)} more than once")
        known = ids[self._store.find(ids)[1]]
        _checks.require(not len(known), _NAME, "ids", "new to the index", f"{_first(known)}, which it holds")
        return ids


def _named(positions: Tensor, ids: Tensor) -> Tensor:
    """The ids at positions, where the positions are; padding stays."""
    if not len(ids):
        return positions
    found = ids[positions.clamp(min=0).to(ids.device)].to(positions.device)
    return found.masked_fill_(positions < 0, PADDING_ID)


def _available_device(device: str | torch.device) -> torch.device:
    """The device with its number, as tensors name it; ValueError where it is not there."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{_NAME}: device must be one that is there, got {str(device)!r} ({reason})") from error


def _first(values: Tensor) -> int | None:
    return int(values[0]) if len(values) else None
