# SPDX-License-Identifier: Apache-2.0
"""hamming_distance: the distances of all pairs of two sets of packed codes."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.ops import _database, _registration
from fasthash.types import PackedDatabase

_OP = "hamming_distance"


def hamming_distance(queries: Tensor, database: Tensor | PackedDatabase) -> Tensor:
    """Number of bits in which every query differs from every database code.

        distances[q, n] = popcount(queries[q] ^ database[n])

    For the k nearest codes use `hamming_topk`, for those within a radius `hamming_range`, for counts by distance
    `hamming_histogram`: they never hold this matrix.

    Args:
        queries: (Q, W) uint8 packed codes of 8 W bits, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, any strides, or what `prepare_database` makes of them;
            N may be 0.

    Returns:
        (Q, N) int32 distances in bits, the same on every device and machine. They have no gradient.

    Raises:
        ValueError: not uint8, not a matrix with W > 0, unequal widths or devices, or 2^24 bits or more in a code.

    Source: Hamming, "Error Detecting and Error Correcting Codes", Bell System Technical Journal 29 (1950).
    """
    try:
        codes, packed_codes = _database.as_arguments(_OP, queries, database)
        distances: Tensor = torch.ops.fasthash.hamming_distance.default(queries, codes, packed_codes)
        return distances
    except _registration.MISFITS:
        _registration.refuse_kinds(hamming_distance, locals())
        raise


@torch.library.register_fake("fasthash::hamming_distance")
def _fake(queries: Tensor, database: Tensor, packed_codes: int) -> Tensor:
    count = _database.count_of(database, packed_codes)
    return queries.new_empty((queries.shape[0], count), dtype=torch.int32)


_registration.not_differentiable(_OP)
