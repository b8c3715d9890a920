# SPDX-License-Identifier: Apache-2.0
"""Single codes in the scan layout: taken out and put in at any position.

What `fasthash.ops.prepare_database` does for a whole database, by rows of words: (N, words), int64, or int32 for codes
of at most 4 bytes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.packed_database import TILE_CODES, shape_of, word_bytes


def lines_of(count: int, width: int) -> int:
    """How many groups `count` codes of `width` bytes fill, whole tiles of them."""
    return shape_of(count, width)[0]


def first_of_tile(position: int) -> int:
    """The position at which the tile of a position begins."""
    return position // TILE_CODES * TILE_CODES


def to_words(rows: Tensor) -> Tensor:
    """(N, W) uint8 rows of bytes, any strides, as rows of words: a copy."""
    size, words = word_bytes(rows.shape[1]), (rows.shape[1] + 7) // 8
    filled = rows.new_zeros(len(rows), words * size)
    filled[:, : rows.shape[1]] = rows
    return filled.view(_word_dtype(rows.shape[1]))


def to_bytes(codes: Tensor, width: int) -> Tensor:
    """Rows of words as (N, W) uint8 rows of bytes."""
    return codes.view(torch.uint8)[:, :width].contiguous()


def take(words: Tensor, width: int, positions: Tensor) -> Tensor:
    """The codes at positions (N,) of a database (G, words, 8), as rows of words."""
    groups = _groups(words, width)
    lanes = groups.shape[1]
    return groups[positions.div(lanes, rounding_mode="floor"), positions % lanes]


def put(words: Tensor, width: int, first: int, codes: Tensor) -> None:
    """Writes rows of words to the positions from `first` on of a database (G, words, 8)."""
    groups = _groups(words, width)
    lanes = groups.shape[1]
    head = min(-first % lanes, len(codes))
    whole = (len(codes) - head) // lanes
    if head:
        groups[first // lanes, first % lanes :][:head] = codes[:head]
    group, end = (first + head) // lanes, head + whole * lanes
    groups[group : group + whole] = codes[head:end].view(whole, lanes, codes.shape[1])
    if end < len(codes):
        groups[group + whole, : len(codes) - end] = codes[end:]


def has_bits_behind(words: Tensor, width: int, bits: int) -> bool:
    """Whether any place of a database, that of no code included, has a bit set behind bit `bits` of its code."""
    code = torch.zeros(1, width, dtype=torch.uint8)
    code[0, : bits // 8] = 255
    if bits % 8:
        code[0, bits // 8] = 256 - (1 << (8 - bits % 8))
    last = (~to_words(code))[0, -1].to(words.device)
    places = _groups(words, width)[:, :, -1]
    return bool(last != 0) and any(bool((part & last).any()) for part in torch.split(places, 1 << 20))


def _word_dtype(width: int) -> torch.dtype:
    return torch.int32 if word_bytes(width) == 4 else torch.int64


def _groups(words: Tensor, width: int) -> Tensor:
    """(G, words, 8) int64 as a view (G, lanes, words) of words."""
    return words.view(_word_dtype(width)).transpose(1, 2)
