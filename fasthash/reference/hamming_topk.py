# SPDX-License-Identifier: Apache-2.0
"""hamming_topk in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.reference.hamming_distance import check_pair, signs_to_distance, unpack_signs
from fasthash.types import HammingTopK

_OP = "hamming_topk"
_MAX_CHUNK = 1 << 24  # distances held at once


def hamming_topk(queries: Tensor, database: Tensor, k: int) -> HammingTopK:
    """The k nearest database codes of every query by Hamming distance, ties by position.

    Args:
        queries: (Q, W) uint8 packed codes, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, N >= 1.
        k: how many, `1 <= k <= N`.

    Returns:
        `HammingTopK` with distances (Q, k) int32 in bits and ids (Q, k) int64 positions in the database, ascending in
        (distance, id).

    Raises:
        ValueError: wrong dtype, rank, width or device, or k outside 1..N.
    """
    check_pair(_OP, queries, database)
    _checks.require(1 <= k <= database.shape[0], _OP, "k", f"in 1..{database.shape[0]} (the database)", k)
    signs = unpack_signs(database)
    chunks = torch.split(queries, max(1, _MAX_CHUNK // database.shape[0]))
    parts = [_topk(unpack_signs(chunk), signs, k) for chunk in chunks]
    return HammingTopK(torch.cat([part.distances for part in parts]), torch.cat([part.ids for part in parts]))


def _topk(queries: Tensor, database: Tensor, k: int) -> HammingTopK:
    """One key `distance * N + position` per pair turns the order (distance, id) into an order of numbers."""
    count = database.shape[0]
    keys = signs_to_distance(queries, database).long() * count
    keys += torch.arange(count, device=keys.device)
    nearest = keys.topk(k, largest=False, sorted=True).values
    return HammingTopK(nearest.div(count, rounding_mode="floor").to(torch.int32), nearest % count)
