# SPDX-License-Identifier: Apache-2.0
"""hamming_topk: the nearest packed codes by Hamming distance, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.ops import _database, _registration
from fasthash.types import HammingTopK, PackedDatabase

_OP = "hamming_topk"


def hamming_topk(
    queries: Tensor,
    database: Tensor | PackedDatabase,
    k: int,
    ids: Tensor | None = None,
    allow: Tensor | None = None,
) -> HammingTopK:
    """The k nearest database codes of every query, in the order (distance, id).

    An id is a position in the database, or what `ids` has there. Equal distances go by the lower id, so the result is
    the same bit for bit on every device, machine and number of threads. No matrix of all distances is held: a sample
    bounds the k-th distance, only codes within the bound are noted, and these are counted by distance. A bound that was
    too low shows itself, and the query is scanned again: the result is always exact.

    Args:
        queries: (Q, W) uint8 packed codes of 8 W bits, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, any strides, N >= 1; or what `prepare_database` makes
            of them, which spares few queries the work of rearranging them.
        k: how many, `1 <= k <= N`. Effort grows with N + k, so `k = N` sorts the whole database.
        ids: (N,) int64 ids of the codes on the same device, in any order. An id that several codes have is returned for
            each of them, in no specified order among equal distances.
        allow: (ceil(N / 8),) uint8 on the same device, `fasthash.pack_codes(mask)` of a bool mask (N,): code n may be
            found where bit n in `numpy.packbits` order is set; spare bits are ignored. One mask for all queries. It
            acts inside the search: where it leaves k codes or more, k are found.

    Returns:
        `HammingTopK` with distances (Q, k) int32 in bits and ids (Q, k) int64. Where `allow` leaves fewer than k codes
        the rest is id -1 at distance 2147483647. They have no gradient.

    Raises:
        ValueError: not uint8, not a matrix with W > 0, unequal widths or devices, 2^24 bits or more in a code, k
            outside 1..N, `ids` or `allow` of another dtype or length, or on CUDA N >= 2^31.
        KeyboardInterrupt: on the CPU, within half a second of Ctrl-C.

    Memory: beside the result, on the CPU at most 64 MiB, or what one query needs, about 16 (k + 1024) bytes for each
    thread, and a sample of at most 65,536 codes; on CUDA at most 64 MiB, or what one query needs, about 4 (N + 8 W)
    bytes.

    Example:
        >>> even = fasthash.pack_codes(torch.arange(len(database)) % 2 == 0)
        >>> distances, ids = fasthash.hamming_topk(queries, database, k=10, allow=even)

    Source: counting in place of heaps follows Faiss (Douze et al., "The Faiss library", arXiv 2401.08281); the order of
    ties and the code are this library's own.
    """
    try:
        codes, packed_codes = _database.as_arguments(_OP, queries, database)
        return HammingTopK(*torch.ops.fasthash.hamming_topk.default(queries, codes, packed_codes, k, ids, allow))
    except _registration.MISFITS:
        _registration.refuse_kinds(hamming_topk, locals())
        raise


@torch.library.register_fake("fasthash::hamming_topk")
def _fake(
    queries: Tensor, database: Tensor, packed_codes: int, k: int, ids: Tensor | None, allow: Tensor | None
) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int32), queries.new_empty(shape, dtype=torch.int64)


_registration.not_differentiable(_OP)
