# SPDX-License-Identifier: Apache-2.0
"""Inputs that tests and benchmarks share."""

from __future__ import annotations

import torch
from torch import Tensor

FLOAT_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def wide_slice(rows: int, bits: int, dtype: torch.dtype = torch.float32, scale: float = 3.0) -> Tensor:
    """(rows, bits) normal values that lie inside a wider tensor: neither contiguous nor aligned."""
    return (torch.randn(rows, bits + 5) * scale).to(dtype)[:, 3 : 3 + bits]


def layouts(rows: int, bits: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The same kind of values (rows, bits) in every memory layout an op can meet."""
    dense = (torch.randn(rows, bits) * 3).to(dtype)
    return {
        "dense": dense,
        "slice": wide_slice(rows, bits, dtype),
        "transposed": (torch.randn(bits, rows) * 3).to(dtype).T,
        "every_other": (torch.randn(rows, 2 * bits) * 3).to(dtype)[:, ::2],
        "expanded": (torch.randn(1, bits) * 3).to(dtype).expand(rows, bits),
    }


def random_codes(rows: int, bytes_per_row: int) -> Tensor:
    """(rows, bytes_per_row) uniform packed codes."""
    return torch.randint(0, 256, (rows, bytes_per_row), dtype=torch.uint8)


def packed_layouts(rows: int, width: int) -> dict[str, Tensor]:
    """Packed codes (rows, width) in every memory layout an op can meet; `odd` is aligned to no word."""
    return {
        "dense": random_codes(rows, width),
        "odd": random_codes(rows, width + 6)[:, 3 : 3 + width],
        "wide": random_codes(rows, width + 16)[:, 8 : 8 + width],
        "transposed": random_codes(width, rows).T,
        "every_other": random_codes(rows, 2 * width)[:, ::2],
        "every_other_row": random_codes(2 * rows, width)[::2],
        "expanded": random_codes(1, width).expand(rows, width),
    }


def triplet_case(
    anchors: int, items: int, bits: int = 6, *, levels: int | None = 64, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances, relation, anchor and item codes for order_aware_triplet, with ties in Hamming distance and distance.

    Distances are `levels` multiples of 1/8, so that hinges are exact and none changes sides by rounding; without
    levels they are uniform in [0, 8).
    """
    distances = torch.rand(anchors, items) * 8 if levels is None else torch.randint(levels, (anchors, items)) / 8
    relation = torch.randint(-2, 3, (anchors, items)).clamp(-1, 2).to(torch.int8)
    width = (bits + 7) // 8
    mask = torch.full((width,), 255, dtype=torch.uint8)
    mask[-1] = (0xFF << (8 * width - bits)) & 0xFF
    return distances.to(dtype), relation, random_codes(anchors, width) & mask, random_codes(items, width) & mask


def triplet_gains(anchors, items):
    """Gains `2^a - 1` for order_aware_triplet, a few of them 0."""
    return torch.randint(5, (anchors, items)).float().exp2() - 1
