# SPDX-License-Identifier: Apache-2.0
"""hamming_range: all packed codes within a Hamming distance."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.ops import _database, _registration
from fasthash.types import HammingRange, PackedDatabase

_OP = "hamming_range"


def hamming_range(
    queries: Tensor,
    database: Tensor | PackedDatabase,
    radius: int,
    ids: Tensor | None = None,
    allow: Tensor | None = None,
) -> HammingRange:
    """Every database code within `radius` bits of each query, in the order (distance, id).

        {n : popcount(queries[q] ^ database[n]) <= radius}  for each q, as the rows of a sparse matrix

    The result is the same bit for bit on every device, machine and number of threads. A first pass counts, a second one
    writes; no matrix of all distances is held. On CUDA the call waits for the device between the two.

    Args:
        queries: (Q, W) uint8 packed codes of 8 W bits, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, any strides, or what `prepare_database` makes of them;
            N may be 0.
        radius: largest distance in bits, >= 0. From 8 W on every code is within it.
        ids: (N,) int64 ids of the codes on the same device, in any order; None stands for positions. An id that several
            codes have is returned for each of them.
        allow: (ceil(N / 8),) uint8 on the same device, `fasthash.pack_codes(mask)` of a bool mask (N,): code n may be
            found where bit n in `numpy.packbits` order is set; spare bits are ignored. One mask for all queries.

    Returns:
        `HammingRange` with offsets (Q + 1,) int64, distances (total,) int32 in bits and ids (total,) int64. Query q has
        the places `offsets[q]` up to `offsets[q + 1]`. They have no gradient.

    Raises:
        ValueError: not uint8, not a matrix with W > 0, unequal widths or devices, 2^24 bits or more in a code,
            radius < 0, `ids` or `allow` of another dtype or length, or on CUDA N >= 2^31.
        MemoryError: the results, 12 bytes each, would need more memory than is available (on Linux `MemAvailable` of
            /proc/meminfo; on CUDA what the allocator gives). On the CPU nothing of them has been allocated by then.
        KeyboardInterrupt: on the CPU, soon after Ctrl-C.

    Memory: 12 bytes for each result and 8 for each query; beside them, on the CPU for each thread at most 64 MiB, or
    what one query needs, 8 bytes for each of its results; on CUDA at most 64 MiB, or what one query needs, about
    4 (N + 8 W) bytes.

    Example:
        As a sparse matrix of distances. A code at distance 0 is an explicit zero there: `matrix.nnz` counts it, and
        `matrix.eliminate_zeros()` would lose it.

        >>> found = fasthash.hamming_range(queries, database, radius=2)
        >>> parts = (found.distances.numpy(), found.ids.numpy(), found.offsets.numpy())
        >>> matrix = scipy.sparse.csr_array(parts, shape=(len(queries), len(database)))

    Source: the search by radius of Norouzi, Punjani, Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
    CVPR 2012, as a scan of all codes; order and code are this library's own.
    """
    try:
        codes, packed_codes = _database.as_arguments(_OP, queries, database)
        return HammingRange(*torch.ops.fasthash.hamming_range.default(queries, codes, packed_codes, radius, ids, allow))
    except _registration.MISFITS:
        _registration.refuse_kinds(hamming_range, locals())
        raise


@torch.library.register_fake("fasthash::hamming_range")
def _fake(
    queries: Tensor, database: Tensor, packed_codes: int, radius: int, ids: Tensor | None, allow: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    total = torch.library.get_ctx().new_dynamic_size()
    return (
        queries.new_empty((queries.shape[0] + 1,), dtype=torch.int64),
        queries.new_empty((total,), dtype=torch.int32),
        queries.new_empty((total,), dtype=torch.int64),
    )


_registration.not_differentiable(_OP)
