# SPDX-License-Identifier: Apache-2.0
"""PackedDatabase: codes in the layout that searches read without rearranging them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fasthash import _checks

TILE_CODES = 64  # the layout is filled up with zeros to whole tiles
LINE_BYTES = 64


def word_bytes(width: int) -> int:
    """Bytes of one word of codes of `width` bytes."""
    return 4 if width <= 4 else 8


def shape_of(count: int, width: int) -> tuple[int, int, int]:
    """The int64 shape (G, words, 8) that holds `count` codes of `width` bytes."""
    lines = (count + TILE_CODES - 1) // TILE_CODES * TILE_CODES * word_bytes(width) // LINE_BYTES
    return lines, (width + 7) // 8, 8


def lanes_of(words: Tensor, width: int) -> Tensor:
    """(G, words, 8) int64 as a view (G, lanes, words, bytes) uint8: group of codes, code, word, byte."""
    size = word_bytes(width)
    return words.view(torch.uint8).view(*words.shape[:2], LINE_BYTES // size, size).transpose(1, 2)


def require_width(op: str, queries: Tensor, database: PackedDatabase) -> None:
    """Refuses queries (Q, W) of another width: words alone do not tell a database's own."""
    same = queries.dim() != 2 or queries.shape[1] == database.width
    _checks.require(same, op, "database", lambda: f"of width {queries.shape[1]} like queries", database.width)


@dataclass(frozen=True, eq=False, repr=False)
class PackedDatabase:
    """Packed codes in the scan layout: the same on every machine and device, made by `fasthash.ops.prepare_database`.

    A code is a row of words of 64 bits, the last one filled up with zeros. Eight codes make a group, word by word: word
    w of the codes 8 g ... 8 g + 7 is `words[g, w]`. Codes of at most 4 bytes are words of 32 bits, 16 of them to a
    group. Zeros fill the last group and whole tiles of 64 codes.

    Attributes:
        words: (G, ceil(width / 8), 8) int64, contiguous, 64-byte aligned on the CPU.
        count: number of codes N.
        width: bytes of one code W.

    Raises:
        ValueError: `words` of another dtype or shape than `count` and `width` ask for.
    """

    words: Tensor
    count: int
    width: int

    def __post_init__(self) -> None:
        _checks.require(self.count >= 0, "PackedDatabase", "count", ">= 0", self.count)
        _checks.require(self.width >= 1, "PackedDatabase", "width", ">= 1", self.width)
        _checks.require_dtype("PackedDatabase", "words", self.words, (torch.int64,))
        shape, expected = tuple(self.words.shape), shape_of(self.count, self.width)
        _checks.require(shape == expected, "PackedDatabase", "words", lambda: f"of shape {expected}", shape)

    @property
    def device(self) -> torch.device:
        """Where the codes live."""
        return self.words.device

    def __len__(self) -> int:
        """Number of codes N."""
        return self.count

    def __repr__(self) -> str:
        return f"PackedDatabase(count={self.count}, width={self.width}, device={str(self.device)!r})"

    def to(self, device: str | torch.device) -> PackedDatabase:
        """The same database on `device`; itself where it already lives there."""
        words = self.words.to(device)
        return self if words is self.words else PackedDatabase(words, self.count, self.width)

    def rows(self) -> Tensor:
        """(N, W) uint8 packed codes, contiguous, in the order they were given: a copy."""
        filled = lanes_of(self.words, self.width).flatten(2).flatten(0, 1)  # (codes, bytes) with what fills them up
        return filled[: self.count, : self.width].clone(memory_format=torch.contiguous_format)
