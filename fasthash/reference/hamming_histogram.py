# SPDX-License-Identifier: Apache-2.0
"""hamming_histogram in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash._labels import as_ids, shares_label
from fasthash.reference import _arguments
from fasthash.reference.hamming_distance import signs_to_distance, unpack_signs
from fasthash.reference.unpack_codes import unpack_bits
from fasthash.types import HammingHistogram, PackedDatabase

_OP = "hamming_histogram"
_MAX_CHUNK = 1 << 22  # distances held at once


def hamming_histogram(
    queries: Tensor,
    database: Tensor | PackedDatabase,
    query_labels: Tensor | None = None,
    database_labels: Tensor | None = None,
) -> HammingHistogram:
    """Number of database codes, and of relevant ones, at every distance from each query.

    Args:
        queries: (Q, W) uint8 packed codes of K = 8 W bits, any strides; Q may be 0.
        database: (N, W) uint8 packed codes on the same device, or a `PackedDatabase` of them; N may be 0.
        query_labels: (Q,) integer class ids or (Q, C) uint8 packed multi-hot rows, or None.
        database_labels: (N,) or (N, C), of the same kind.

    Returns:
        `HammingHistogram` with total (Q, K + 1) int64 and relevant (Q, K + 1) int64, of shape (0,) without labels.

    Raises:
        ValueError: wrong dtype, rank, width, length or device, labels of one side only or of two kinds.
    """
    rows = _arguments.rows_of(_OP, queries, database)
    labels = _comparable(queries, rows, as_ids(query_labels), as_ids(database_labels))
    signs, bins = unpack_signs(rows), 8 * rows.shape[1] + 1
    size = max(1, _MAX_CHUNK // max(1, len(rows)))
    distances = [signs_to_distance(unpack_signs(chunk), signs) for chunk in torch.split(queries, size)]
    total = torch.cat([_count(chunk, torch.ones_like(chunk), bins) for chunk in distances])
    if labels is None:
        return HammingHistogram(total, total.new_zeros(0))
    relevance = [shares_label(chunk, labels[1]) for chunk in torch.split(labels[0], size)]
    relevant = torch.cat([_count(*pair, bins) for pair in zip(distances, relevance, strict=True)])
    return HammingHistogram(total, relevant)


def _count(distances: Tensor, weights: Tensor, bins: int) -> Tensor:
    """(q, N) -> (q, bins) int64: the sum of the weights at each distance."""
    counts = torch.zeros(len(distances), bins, dtype=torch.int64, device=distances.device)
    return counts.scatter_add_(1, distances.long(), weights.long())


def _comparable(
    queries: Tensor, rows: Tensor, query_labels: Tensor | None, database_labels: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """Labels as `shares_label` takes them; refuses those that fit neither the codes nor each other."""
    if query_labels is None and database_labels is None:
        return None
    if query_labels is None or database_labels is None:
        given, missing = ("query", "database") if database_labels is None else ("database", "query")
        raise ValueError(f"{_OP}: {missing}_labels must be given like {given}_labels, got None")
    _check_labels("query_labels", query_labels, queries)
    _check_labels("database_labels", database_labels, rows)
    alike = query_labels.shape[1:] == database_labels.shape[1:]
    kind = "1-D class ids" if query_labels.dim() == 1 else f"rows of {query_labels.shape[1]} bytes"
    _checks.require(alike, _OP, "database_labels", f"{kind} like query_labels", tuple(database_labels.shape))
    if query_labels.dim() == 1:
        return query_labels, database_labels
    return unpack_bits(query_labels).float(), unpack_bits(database_labels).float()


def _check_labels(argument: str, labels: Tensor, codes: Tensor) -> None:
    kinds = "1-D class ids or 2-D packed multi-hot rows"
    _checks.require(labels.dim() in (1, 2), _OP, argument, kinds, tuple(labels.shape))
    dtype, where = (torch.int64, "where 1-D") if labels.dim() == 1 else (torch.uint8, "(packed bits) where 2-D")
    name = str(dtype).removeprefix("torch.")
    got = str(labels.dtype).removeprefix("torch.")
    _checks.require(labels.dtype == dtype, _OP, argument, f"a tensor of dtype {name} {where}", got)
    expected = f"of length {len(codes)}, one for each code"
    _checks.require(len(labels) == len(codes), _OP, argument, expected, len(labels))
    _checks.require_same_device(_OP, argument, labels, codes.device)
