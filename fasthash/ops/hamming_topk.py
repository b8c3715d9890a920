# SPDX-License-Identifier: Apache-2.0
"""hamming_topk: the nearest packed codes by Hamming distance, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.ops import _registration
from fasthash.types import HammingTopK


def hamming_topk(queries: Tensor, database: Tensor, k: int) -> HammingTopK:
    """The k nearest database codes of every query, in the order (distance, id).

    An id is a position in the database. Equal distances go by the lower id, so the result is the same bit for bit on
    every device, machine and number of threads. No matrix of all distances is held: distances are small integers, so
    codes are counted by distance, and only those below the distance of the k-th nearest so far are looked at again.

    Args:
        queries: (Q, W) uint8 packed codes of 8 W bits, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, any strides, N >= 1.
        k: how many, `1 <= k <= N`. Effort grows with N + k, so `k = N` sorts the whole database.

    Returns:
        `HammingTopK` with distances (Q, k) int32 in bits and ids (Q, k) int64. They have no gradient.

    Raises:
        ValueError: not uint8, not a matrix with W > 0, unequal widths or devices, 2^31 bits or more in a code, k
            outside 1..N, or on CUDA N >= 2^31.
        KeyboardInterrupt: on the CPU, within half a second of Ctrl-C.

    Memory: beside the result, on the CPU at most 64 MiB, or what one query needs, about 32 k bytes for each thread; on
    CUDA at most 64 MiB, or what one query needs, about 4 (N + 8 W) bytes.

    Source: counting in place of heaps follows Faiss (Douze et al., "The Faiss library", arXiv 2401.08281); the order of
    ties and the code are this library's own.
    """
    return HammingTopK(*torch.ops.fasthash.hamming_topk.default(queries, database, k))


@torch.library.register_fake("fasthash::hamming_topk")
def _fake(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int32), queries.new_empty(shape, dtype=torch.int64)


_registration.not_differentiable("hamming_topk")
