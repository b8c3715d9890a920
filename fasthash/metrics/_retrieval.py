# SPDX-License-Identifier: Apache-2.0
"""What the metrics share: checks, and passes over the queries in chunks that bound the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fasthash import _checks, ops
from fasthash._labels import check_labels
from fasthash.types import HammingHistogram, PackedDatabase

MAX_VALUES = 1 << 22  # counts by distance, or ranked items, held at once

TIES = ("expected", "index")
EMPTY = ("zero", "skip")


class Retrieval(NamedTuple):
    """Queries and database of one evaluation, checked; labels as operators take them."""

    query_codes: Tensor  # (Q, W) uint8
    database_codes: Tensor | PackedDatabase  # (N, W) uint8
    query_labels: Tensor  # (Q,) int64 or (Q, C) uint8 packed multi-hot
    database_labels: Tensor  # (N,) or (N, C)


def checked(
    op: str,
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
) -> Retrieval:
    """Refuses codes and labels that do not fit each other, and empty ones."""
    _checks.require_packed(op, "query_codes", query_codes)
    _check_width(op, query_codes.shape[1], database_codes)
    check_labels(op, ("query_labels", "database_labels"), query_labels, database_labels)
    for side, codes, labels in (
        ("query", query_codes, query_labels),
        ("database", database_codes, database_labels),
    ):
        _checks.require(len(codes) > 0, op, f"{side}_codes", "at least one code", "none")
        _checks.require(len(labels) == len(codes), op, f"{side}_labels", f"of length {len(codes)}", len(labels))
        _checks.require(
            codes.device == query_codes.device, op, f"{side}_codes", f"on {query_codes.device}", codes.device
        )
        _checks.require_same_device(op, f"{side}_labels", labels, query_codes.device)
    return Retrieval(query_codes, database_codes, _packed(op, query_labels), _packed(op, database_labels))


def _check_width(op: str, width: int, database: Tensor | PackedDatabase) -> None:
    if isinstance(database, PackedDatabase):
        _checks.require(database.width == width, op, "database_codes", f"of width {width}", database.width)
        return
    _checks.require_packed(op, "database_codes", database)
    shape = tuple(database.shape)
    _checks.require(shape[1] == width, op, "database_codes", f"of shape (rows, {width}) like query_codes", shape)


def _packed(op: str, labels: Tensor) -> Tensor:
    """Ids as int64; multi-hot rows of any dtype, set where > 0, as packed bits."""
    if labels.dim() == 2:
        _checks.require(labels.shape[1] > 0, op, "query_labels", "of at least one class where 2-D", tuple(labels.shape))
        return ops.pack_codes(labels > 0)
    return labels.long()


def check_k(op: str, k: int, database: int) -> None:
    """Refuses a cut-off outside 1..N."""
    _checks.require(1 <= k <= database, op, "k", f"in 1..{database} (the database)", k)


def counted_chunks(data: Retrieval) -> Iterator[HammingHistogram]:
    """Yields the counts by distance of some queries after the other; distances go from 0 to 8 W."""
    for codes, labels in _chunks(data, _distances(data)):
        yield ops.hamming_histogram(codes, data.database_codes, labels, data.database_labels)


def ranked_chunks(data: Retrieval, k: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (q, k) float64 relevance in the order (distance, index), and (q,) int64 relevant items in all."""
    k = len(data.database_codes) if k is None else k
    for codes, labels in _chunks(data, max(k * data.query_labels[:1].numel(), _distances(data))):
        counts = ops.hamming_histogram(codes, data.database_codes, labels, data.database_labels)
        ranked = ops.hamming_topk(codes, data.database_codes, k).ids
        yield _related(labels, data.database_labels[ranked]).double(), counts.relevant.sum(1)


def _chunks(data: Retrieval, values: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Codes and labels of as many queries as may hold `values` numbers each."""
    rows = max(1, MAX_VALUES // values)
    return zip(torch.split(data.query_codes, rows), torch.split(data.query_labels, rows), strict=True)


def _distances(data: Retrieval) -> int:
    """How many values a distance can have."""
    return 8 * data.query_codes.shape[1] + 1


def _related(labels: Tensor, ranked: Tensor) -> Tensor:
    """(q, k) bool from labels (q,) and (q, k), or (q, C) and (q, k, C) packed multi-hot."""
    if labels.dim() == 1:
        return labels.unsqueeze(1) == ranked
    return (labels.unsqueeze(1) & ranked).any(2)


def summarize(op: str, values: Tensor, has_relevant: Tensor, empty: str, per_query: bool) -> float | Tensor:
    """Mean of (Q,) values, or the values themselves.

    With `empty="skip"` queries without relevant items are left out of the mean, and NaN among the values.
    """
    if empty == "skip":
        values = values.masked_fill(~has_relevant, torch.nan)
    if per_query:
        return values
    if empty == "skip" and not bool(has_relevant.any()):
        raise ValueError(f"{op}: database_labels must be relevant to some query where empty='skip', got none that is")
    return float(values.nanmean())
