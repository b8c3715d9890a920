# SPDX-License-Identifier: Apache-2.0
"""prepare_database once more, the plain way: the definition of the layout."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.packed_database import LINE_BYTES, TILE_CODES, PackedDatabase, word_bytes


def prepare_database(rows: Tensor) -> PackedDatabase:
    """Packed codes (N, W) uint8 in the scan layout: filled up with zeros, cut into words, words before codes.

    Args:
        rows: (N, W) uint8 packed codes, any strides and device; N may be 0.

    Returns:
        `PackedDatabase` on the same device, with memory of its own.

    Raises:
        ValueError: not uint8, or not a matrix with W > 0.
    """
    _checks.require_packed("prepare_database", "rows", rows)
    count, width = rows.shape
    size, words = word_bytes(width), (width + 7) // 8
    lanes, tiles = LINE_BYTES // size, (count + TILE_CODES - 1) // TILE_CODES
    filled = rows.new_zeros(tiles * TILE_CODES, words * size)
    filled[:count, :width] = rows
    groups = filled.view(tiles * TILE_CODES // lanes, lanes, words, size).transpose(1, 2).contiguous()
    return PackedDatabase(groups.flatten(2).view(torch.int64), count, width)
