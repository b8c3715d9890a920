# SPDX-License-Identifier: Apache-2.0
"""What the metrics share: checks, and passes over the queries in chunks that bound the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fasthash import _checks, ops
from fasthash._labels import as_comparable, check_labels, shares_label

MAX_PAIRS = 1 << 22  # distances, and counts by distance, held at once

TIES = ("expected", "index")
EMPTY = ("zero", "skip")


class Retrieval(NamedTuple):
    """Queries and database of one evaluation, checked; labels as `as_comparable` makes them."""

    query_codes: Tensor  # (Q, W) uint8
    database_codes: Tensor  # (N, W) uint8
    query_labels: Tensor  # (Q,) or (Q, C)
    database_labels: Tensor  # (N,) or (N, C)


class Counts(NamedTuple):
    """Database items by distance from each query of a chunk."""

    total: Tensor  # (q, D) int64: items at distance 0, 1, ..., D - 1
    relevant: Tensor  # (q, D) int64: those that share a label with the query


def checked(
    op: str, query_codes: Tensor, database_codes: Tensor, query_labels: Tensor, database_labels: Tensor
) -> Retrieval:
    """Refuses codes and labels that do not fit each other, and empty ones."""
    _checks.require_packed(op, "query_codes", query_codes)
    _checks.require_packed(op, "database_codes", database_codes)
    shape = tuple(database_codes.shape)
    same = query_codes.shape[1] == database_codes.shape[1]
    _checks.require(same, op, "database_codes", f"of shape (rows, {query_codes.shape[1]}) like query_codes", shape)
    check_labels(op, ("query_labels", "database_labels"), query_labels, database_labels)
    for side, codes, labels in (
        ("query", query_codes, query_labels),
        ("database", database_codes, database_labels),
    ):
        _checks.require(len(codes) > 0, op, f"{side}_codes", "at least one code", "none")
        _checks.require(len(labels) == len(codes), op, f"{side}_labels", f"of length {len(codes)}", len(labels))
        _checks.require_same_device(op, f"{side}_codes", codes, query_codes.device)
        _checks.require_same_device(op, f"{side}_labels", labels, query_codes.device)
    return Retrieval(query_codes, database_codes, as_comparable(query_labels), as_comparable(database_labels))


def check_k(op: str, k: int, database: int) -> None:
    """Refuses a cut-off outside 1..N."""
    _checks.require(1 <= k <= database, op, "k", f"in 1..{database} (the database)", k)


def chunks(data: Retrieval) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (q, N) int32 distances and (q, N) bool relevance for some queries after the other."""
    rows = max(1, MAX_PAIRS // max(len(data.database_codes), _distances(data)))
    parts = zip(torch.split(data.query_codes, rows), torch.split(data.query_labels, rows), strict=True)
    for codes, labels in parts:
        yield ops.hamming_distance(codes, data.database_codes), shares_label(labels, data.database_labels)


def _distances(data: Retrieval) -> int:
    """How many values a distance can have."""
    return 8 * data.query_codes.shape[1] + 1


def count_by_distance(distances: Tensor, relevance: Tensor, size: int) -> Counts:
    """Histograms of (q, N) distances below `size`, of all items and of the relevant ones."""
    rows = len(distances)
    offsets = torch.arange(rows, dtype=torch.int32, device=distances.device).unsqueeze(1) * size
    keys = (distances + offsets).mul_(2).add_(relevance)
    table = torch.bincount(keys.flatten(), minlength=rows * size * 2).view(rows, size, 2)
    return Counts(table.sum(2), table[:, :, 1])


def counted_chunks(data: Retrieval) -> Iterator[Counts]:
    """Yields the histograms of some queries after the other; distances go from 0 to 8 W."""
    for distances, relevance in chunks(data):
        yield count_by_distance(distances, relevance, _distances(data))


def ranked_chunks(data: Retrieval, k: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (q, k) float64 relevance in the order (distance, index), and (q,) int64 relevant items in all."""
    for distances, relevance in chunks(data):
        order = distances.sort(dim=1, stable=True).indices[:, :k]
        yield relevance.gather(1, order).double(), relevance.sum(1)


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
