# SPDX-License-Identifier: Apache-2.0
"""hamming_distance in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.reference import _arguments
from fasthash.reference.unpack_codes import unpack_bits
from fasthash.types import PackedDatabase


def hamming_distance(queries: Tensor, database: Tensor | PackedDatabase) -> Tensor:
    """Number of bits in which every query differs from every database code.

    For codes a, b of ±1 with K bits, `d(a, b) = (K - a · b) / 2`, one matrix product; the sums stay exact in float32.

    Args:
        queries: (Q, W) uint8 packed codes, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, or a `PackedDatabase` of them; N may be 0.

    Returns:
        (Q, N) int32 distances in bits.

    Raises:
        ValueError: wrong dtype, rank, width or device.
    """
    rows = _arguments.rows_of("hamming_distance", queries, database)
    return signs_to_distance(unpack_signs(queries), unpack_signs(rows))


def unpack_signs(packed: Tensor) -> Tensor:
    """(R, W) uint8 -> (R, 8 W) float32 of ±1; equal spare bits cancel in the distance."""
    return unpack_bits(packed).to(torch.float32) * 2 - 1


def signs_to_distance(queries: Tensor, database: Tensor) -> Tensor:
    """(Q, K), (N, K) float32 of ±1 -> (Q, N) int32 distances."""
    return ((queries.shape[1] - queries @ database.T) * 0.5).to(torch.int32)
