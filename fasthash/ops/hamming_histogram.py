# SPDX-License-Identifier: Apache-2.0
"""hamming_histogram: how many packed codes lie at each Hamming distance."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash._labels import as_ids
from fasthash.ops import _database, _registration
from fasthash.types import HammingHistogram, PackedDatabase

_OP = "hamming_histogram"


def hamming_histogram(
    queries: Tensor,
    database: Tensor | PackedDatabase,
    query_labels: Tensor | None = None,
    database_labels: Tensor | None = None,
) -> HammingHistogram:
    """Number of database codes, and of relevant ones, at every distance from each query.

        total[q, d]    = |{n : popcount(queries[q] ^ database[n]) = d}|
        relevant[q, d] = |{n of these : query_labels[q] and database_labels[n] are related}|

    Tie-aware precision, recall and average precision are functions of these counts. No matrix of all distances is held.

    Args:
        queries: (Q, W) uint8 packed codes of K = 8 W bits, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, any strides, or what `prepare_database` makes of them;
            N may be 0.
        query_labels: labels of the queries on the same device, or None: nothing is relevant. Either (Q,) class ids of
            any integer dtype, related where they are equal; or (Q, C) uint8 packed multi-hot rows, as `pack_codes`
            makes them of a bool matrix, related where they have a bit in common.
        database_labels: labels of the database, (N,) or (N, C), of the same kind.

    Returns:
        `HammingHistogram` with total (Q, K + 1) int64 and relevant (Q, K + 1) int64, which is of shape (0,) without
        labels. They have no gradient.

    Raises:
        ValueError: not uint8, not a matrix with W > 0, unequal widths or devices, 2^24 bits or more in a code; labels
            of one side only, of two kinds, of another dtype, length or width.
        KeyboardInterrupt: on the CPU, soon after Ctrl-C.

    Memory: 16 (K + 1) bytes for each query; beside them, on the CPU, about 2 MiB for each thread, and
    with packed labels another 2 KiB for each bit of them.

    Example:
        >>> total, relevant = fasthash.hamming_histogram(queries, database, query_labels, database_labels)
        >>> precision_within_2 = relevant[:, :3].sum(1) / total[:, :3].sum(1).clamp(min=1)

    Source: He, Cakir, Bargal, Sclaroff, "Hashing as Tie-Aware Learning to Rank", CVPR 2018, for metrics as functions of
    such counts; the code is this library's own.
    """
    try:
        codes, packed_codes = _database.as_arguments(_OP, queries, database)
        labels = [as_ids(labels) for labels in (query_labels, database_labels)]
        return HammingHistogram(*torch.ops.fasthash.hamming_histogram.default(queries, codes, packed_codes, *labels))
    except _registration.MISFITS:
        _registration.refuse_kinds(hamming_histogram, locals())
        raise


@torch.library.register_fake("fasthash::hamming_histogram")
def _fake(
    queries: Tensor,
    database: Tensor,
    packed_codes: int,
    query_labels: Tensor | None,
    database_labels: Tensor | None,
) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], 8 * queries.shape[1] + 1)
    total = queries.new_empty(shape, dtype=torch.int64)
    return total, queries.new_empty((0,) if query_labels is None else shape, dtype=torch.int64)


_registration.not_differentiable(_OP)
