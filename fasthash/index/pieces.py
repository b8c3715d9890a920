# SPDX-License-Identifier: Apache-2.0
"""Searches of a database piece by piece, with the results of a search of the whole, bit for bit.

So a database that lies in host memory is searched by a device that has no room for it: while one piece is scanned, the
next one is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fasthash import ops
from fasthash.index import layout
from fasthash.index.merge import merge_range, merge_topk, padding, shifted
from fasthash.packed_database import TILE_CODES, PackedDatabase
from fasthash.types import HammingRange, HammingTopK

PIECE_BYTES = 1 << 28  # of the device's memory; there are two


class Piece(NamedTuple):
    """Some codes of a database that follow one another."""

    first: int  # position of the first of them
    codes: PackedDatabase | Tensor  # n codes
    allow: Tensor | None  # (ceil(n / 8),) uint8 mask


def nearest(queries: Tensor, pieces: Iterable[Piece], k: int) -> HammingTopK:
    """The k nearest codes of all pieces; ids are positions, and padding where there are fewer than k."""
    best = padding(len(queries), 0, queries.device)
    for piece in pieces:
        found = ops.hamming_topk(queries, piece.codes, min(k, len(piece.codes)), allow=piece.allow)
        found = HammingTopK(found.distances, shifted(found.ids, piece.first))
        best = found if best.ids.numel() == 0 else merge_topk([best, found], k)
    return best if best.ids.shape[1] == k else merge_topk([best], k)


def within(queries: Tensor, pieces: Iterable[Piece], radius: int) -> HammingRange:
    """The codes of all pieces within a radius; ids are positions."""
    parts = []
    for piece in pieces:
        found = ops.hamming_range(queries, piece.codes, radius, allow=piece.allow)
        parts.append(found._replace(ids=shifted(found.ids, piece.first)))
    return parts[0] if len(parts) == 1 else merge_range(parts)


def streamed(database: PackedDatabase, allow: Tensor | None, device: torch.device) -> Iterator[Piece]:
    """A database in host memory as pieces on `device`; a mask has to be there already.

    A piece is valid until the next one is asked for.
    """
    for first, codes in _resident(list(_cut(database)), device):
        yield Piece(first, codes, None if allow is None else allow[first // 8 : (first + len(codes) + 7) // 8])


def _cut(database: PackedDatabase) -> Iterator[tuple[int, PackedDatabase]]:
    """Views of whole tiles of at most PIECE_BYTES, and the positions at which they begin."""
    tile_bytes = 8 * database.words[: layout.lines_of(1, database.width)].numel()
    size = max(1, PIECE_BYTES // max(1, tile_bytes)) * TILE_CODES
    for first in range(0, len(database), size):
        count = min(size, len(database) - first)
        begin, end = (layout.lines_of(place, database.width) for place in (first, first + count))
        yield first, PackedDatabase(database.words[begin:end], count, database.width)


def _resident(pieces: list[tuple[int, PackedDatabase]], device: torch.device) -> Iterator[tuple[int, PackedDatabase]]:
    """Yields the pieces on `device`, copied on a stream of their own while the one before is in use."""
    if device.type != "cuda":
        yield from pieces
        return
    compute, copies = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    buffers = [torch.empty_like(codes.words, device=device) for _, codes in pieces[:2]]  # the first pieces are largest
    copies.wait_stream(compute)  # for what the buffers' memory was used for before
    done: list[torch.cuda.Event] = []  # of each piece: the search of it

    def copied(number: int) -> tuple[PackedDatabase, torch.cuda.Event]:
        codes = pieces[number][1]
        place = buffers[number % 2][: len(codes.words)]
        with torch.cuda.stream(copies):
            if number >= 2:
                copies.wait_event(done[number - 2])
            place.copy_(codes.words, non_blocking=True)
            return PackedDatabase(place, codes.count, codes.width), copies.record_event()

    try:
        ahead = copied(0)
        for number, (first, _) in enumerate(pieces):
            codes, ready = ahead
            if number + 1 < len(pieces):
                ahead = copied(number + 1)
            compute.wait_event(ready)
            yield first, codes
            done.append(compute.record_event())
    finally:
        copies.synchronize()  # from here on host memory may change, and the buffers' memory be used for other things
