# SPDX-License-Identifier: Apache-2.0
"""hamming_range in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.reference import _arguments
from fasthash.reference.hamming_distance import signs_to_distance, unpack_signs
from fasthash.types import HammingRange, PackedDatabase

_OP = "hamming_range"
_MAX_CHUNK = 1 << 24  # distances held at once


def hamming_range(
    queries: Tensor,
    database: Tensor | PackedDatabase,
    radius: int,
    ids: Tensor | None = None,
    allow: Tensor | None = None,
) -> HammingRange:
    """Every database code within `radius` bits of each query, in the order (distance, id).

    Args:
        queries: (Q, W) uint8 packed codes, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, or a `PackedDatabase` of them; N may be 0.
        radius: largest distance in bits, >= 0.
        ids: (N,) int64 ids of the codes, in any order; None stands for positions.
        allow: (ceil(N / 8),) uint8 mask in `numpy.packbits` order of the codes that may be found; None allows all.

    Returns:
        `HammingRange` with offsets (Q + 1,) int64, distances (total,) int32 in bits and ids (total,) int64.

    Raises:
        ValueError: wrong dtype, rank, width, length or device, or radius < 0.
    """
    rows = _arguments.rows_of(_OP, queries, database)
    _checks.require(radius >= 0, _OP, "radius", ">= 0", radius)
    by_id, order = _arguments.ids_of(_OP, rows, ids).sort(stable=True)
    allowed, signs = _arguments.allowed(_OP, rows, allow)[order], unpack_signs(rows[order])
    chunks = torch.split(queries, max(1, _MAX_CHUNK // max(1, len(rows))))
    reach = min(radius, signs.shape[1])  # an int32, as distances are
    parts = [_range(unpack_signs(chunk), signs, allowed, reach) for chunk in chunks]
    counts, distances, ranks = (torch.cat(part) for part in zip(*parts, strict=True))
    return HammingRange(torch.nn.functional.pad(counts.cumsum(0), (1, 0)), distances, by_id[ranks])


def _range(queries: Tensor, database: Tensor, allowed: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes found for each query, and their distances and ranks, of one query after the other."""
    distances = signs_to_distance(queries, database)
    counts = ((distances <= radius) & allowed).sum(1)
    distances, ranks = distances.masked_fill(~allowed, torch.iinfo(torch.int32).max).sort(dim=1, stable=True)
    found = torch.arange(len(database), device=queries.device) < counts[:, None]
    return counts, distances[found], ranks[found]
