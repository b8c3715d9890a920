# SPDX-License-Identifier: Apache-2.0
"""hamming_topk in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.reference import _arguments
from fasthash.reference.hamming_distance import signs_to_distance, unpack_signs
from fasthash.types import HammingTopK, PackedDatabase

_OP = "hamming_topk"
_MAX_CHUNK = 1 << 24  # distances held at once
_PADDING_DISTANCE = torch.iinfo(torch.int32).max


def hamming_topk(
    queries: Tensor,
    database: Tensor | PackedDatabase,
    k: int,
    ids: Tensor | None = None,
    allow: Tensor | None = None,
) -> HammingTopK:
    """The k nearest database codes of every query by Hamming distance, ties by id.

    Args:
        queries: (Q, W) uint8 packed codes, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, or a `PackedDatabase` of them, N >= 1.
        k: how many, `1 <= k <= N`.
        ids: (N,) int64 ids of the codes, in any order; None stands for positions.
        allow: (ceil(N / 8),) uint8 mask in `numpy.packbits` order of the codes that may be found; None allows all.

    Returns:
        `HammingTopK` with distances (Q, k) int32 in bits and ids (Q, k) int64, ascending in (distance, id); where
        `allow` leaves fewer than k codes the rest is id -1 at distance 2147483647.

    Raises:
        ValueError: wrong dtype, rank, width, length or device, or k outside 1..N.
    """
    rows = _arguments.rows_of(_OP, queries, database)
    _checks.require(1 <= k <= len(rows), _OP, "k", f"in 1..{len(rows)} (the database)", k)
    by_id, order = _arguments.ids_of(_OP, rows, ids).sort(stable=True)
    allowed, signs = _arguments.allowed(_OP, rows, allow)[order], unpack_signs(rows[order])
    chunks = torch.split(queries, max(1, _MAX_CHUNK // len(rows)))
    parts = [_topk(unpack_signs(chunk), signs, allowed, k) for chunk in chunks]
    distances, ranks = (torch.cat(part) for part in zip(*parts, strict=True))
    missing = distances > signs.shape[1]
    return HammingTopK(distances.masked_fill(missing, _PADDING_DISTANCE), by_id[ranks].masked_fill(missing, -1))


def _topk(queries: Tensor, database: Tensor, allowed: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(Q, k) distances and ranks in the order of ids; what is not allowed is farther than any code.

    One key `distance * N + rank` per pair turns the order (distance, id) into an order of numbers.
    """
    count, bits = database.shape
    keys = signs_to_distance(queries, database).masked_fill(~allowed, bits + 1).long() * count
    keys += torch.arange(count, device=keys.device)
    nearest = keys.topk(k, largest=False, sorted=True).values
    return nearest.div(count, rounding_mode="floor").to(torch.int32), nearest % count
