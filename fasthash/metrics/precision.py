# SPDX-License-Identifier: Apache-2.0
"""Precision among the nearest items, inside a Hamming ball, and over all radii."""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.metrics import _retrieval
from fasthash.types import HammingHistogram, PackedDatabase


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall of everything within a Hamming radius of 0, 1, ..., K bits.

    Attributes:
        precision: (K + 1,) float64.
        recall: (K + 1,) float64, ascending.
    """

    precision: Tensor
    recall: Tensor


@overload
def precision_at_k(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    k: int,
    *,
    ties: str = ...,
    empty: str = ...,
    per_query: Literal[False] = ...,
) -> float: ...


@overload
def precision_at_k(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    k: int,
    *,
    ties: str = ...,
    empty: str = ...,
    per_query: Literal[True],
) -> Tensor: ...


def precision_at_k(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    k: int,
    *,
    ties: str = "expected",
    empty: str = "zero",
    per_query: bool = False,
) -> float | Tensor:
    """Mean share of relevant items among the k nearest: `P@k = (relevant items among the first k) / k`.

    Args:
        query_codes: (Q, W) uint8 packed codes.
        database_codes: (N, W) uint8 packed codes, or what `fasthash.ops.prepare_database` makes of them.
        query_labels: (Q,) integer class ids or (Q, C) multi-hot rows (set where > 0).
        database_labels: (N,) or (N, C), of the same kind; an item is relevant if it shares a label with the query.
        k: how many, `1 <= k <= N`.
        ties: `expected`, the exact mean over the orders of items at equal distance; or `index` for the order
            (distance, index).
        empty: a query without any relevant item counts as `zero`, or is left out of the mean (`skip`).
        per_query: return (Q,) values in place of their mean, with NaN for skipped queries.

    Returns:
        A number, or (Q,) float64 with `per_query`.

    Raises:
        ValueError: codes or labels that do not fit, k outside 1..N, another word than those named, or `empty="skip"`
            where no query has a relevant item.

    Source:
        The expectation under ties is that of McSherry and Najork, ECIR 2008.
    """
    op = "precision_at_k"
    _checks.require_choice(op, "ties", ties, _retrieval.TIES)
    _checks.require_choice(op, "empty", empty, _retrieval.EMPTY)
    data = _retrieval.checked(op, query_codes, database_codes, query_labels, database_labels)
    _retrieval.check_k(op, k, len(database_codes))
    values, relevant = [], []
    if ties == "expected":
        for counts in _retrieval.counted_chunks(data):
            relevant.append(counts.relevant.sum(1))
            values.append(_expected_hits(counts, k) / k)
    else:
        for ranked, count in _retrieval.ranked_chunks(data, k):
            relevant.append(count)
            values.append(ranked.mean(1))
    return _retrieval.summarize(op, torch.cat(values), torch.cat(relevant) > 0, empty, per_query)


@overload
def precision_within_radius(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    radius: int = ...,
    *,
    empty: str = ...,
    per_query: Literal[False] = ...,
) -> float: ...


@overload
def precision_within_radius(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    radius: int = ...,
    *,
    empty: str = ...,
    per_query: Literal[True],
) -> Tensor: ...


def precision_within_radius(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    radius: int = 2,
    *,
    empty: str = "zero",
    per_query: bool = False,
) -> float | Tensor:
    """Mean share of relevant items in the Hamming ball around a query; an empty ball counts 0.

    Args:
        query_codes: (Q, W) uint8 packed codes.
        database_codes: (N, W) uint8 packed codes, or what `fasthash.ops.prepare_database` makes of them.
        query_labels: (Q,) integer class ids or (Q, C) multi-hot rows (set where > 0).
        database_labels: (N,) or (N, C), of the same kind; an item is relevant if it shares a label with the query.
        radius: largest distance in bits that is inside, >= 0.
        empty: a query without any relevant item in the database counts as `zero`, or is left out (`skip`).
        per_query: return (Q,) values in place of their mean, with NaN for skipped queries.

    Returns:
        A number, or (Q,) float64 with `per_query`.

    Raises:
        ValueError: codes or labels that do not fit, radius < 0, another word than those named, or `empty="skip"` where
            no query has a relevant item.

    Source:
        "P@H=2" of the deep hashing papers, with the convention for empty balls of Cao et al., "Deep Cauchy Hashing",
        CVPR 2018.
    """
    op = "precision_within_radius"
    _checks.require_choice(op, "empty", empty, _retrieval.EMPTY)
    _checks.require(radius >= 0, op, "radius", ">= 0", radius)
    data = _retrieval.checked(op, query_codes, database_codes, query_labels, database_labels)
    values, relevant = [], []
    for counts in _retrieval.counted_chunks(data):
        relevant.append(counts.relevant.sum(1))
        inside, hits = (part[:, : radius + 1].sum(1) for part in counts)
        values.append(_share(hits, inside))
    return _retrieval.summarize(op, torch.cat(values), torch.cat(relevant) > 0, empty, per_query)


def precision_recall_curve(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    *,
    bits: int | None = None,
    average: str = "macro",
    empty: str = "zero",
) -> PrecisionRecallCurve:
    """Precision and recall of the items within each Hamming radius; items at equal distance enter together.

    Args:
        query_codes: (Q, W) uint8 packed codes.
        database_codes: (N, W) uint8 packed codes, or what `fasthash.ops.prepare_database` makes of them.
        query_labels: (Q,) integer class ids or (Q, C) multi-hot rows (set where > 0).
        database_labels: (N,) or (N, C), of the same kind; an item is relevant if it shares a label with the query.
        bits: code length K, the last radius; None means 8 W.
        average: `macro` takes the mean of the queries' values, where an empty ball has precision 0 as in
            `precision_within_radius`; `micro` divides sums over all queries, and is 0 where nothing is inside any ball.
        empty: in `macro`, queries without any relevant item have precision and recall 0, or are left out (`skip`).
            In `micro` they add what they retrieve, or nothing (`skip`).

    Returns:
        `PrecisionRecallCurve` of K + 1 points.

    Raises:
        ValueError: codes or labels that do not fit, bits that do not belong to the width, another word than those
            named, or `empty="skip"` where no query has a relevant item.
    """
    op = "precision_recall_curve"
    _checks.require_choice(op, "average", average, ("macro", "micro"))
    _checks.require_choice(op, "empty", empty, _retrieval.EMPTY)
    data = _retrieval.checked(op, query_codes, database_codes, query_labels, database_labels)
    width = query_codes.shape[1]
    bits = 8 * width if bits is None else bits
    _checks.require((bits + 7) // 8 == width, op, "bits", f"in {8 * width - 7}..{8 * width} for {width} bytes", bits)
    sums, queries = torch.zeros(5, bits + 1, dtype=torch.float64, device=query_codes.device), 0
    for counts in _retrieval.counted_chunks(data):
        kept = counts if empty == "zero" else HammingHistogram(*(part[counts.relevant.sum(1) > 0] for part in counts))
        queries += len(kept.total)
        sums += _curve_sums(kept, bits)
    _checks.require(queries > 0, op, "database_labels", "relevant to some query where empty='skip'", "none that is")
    precision, recall, hits, retrieved, relevant = sums
    if average == "micro":
        return PrecisionRecallCurve(_share(hits, retrieved), _share(hits, relevant))
    return PrecisionRecallCurve(precision / queries, recall / queries)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Part / whole in float64, 0 where the whole is 0."""
    return part.double() / whole.clamp(min=1)


def _expected_hits(counts: HammingHistogram, k: int) -> Tensor:
    """(q,) expected relevant items among the first k: the tie that rank k cuts gives its share."""
    total, relevant = counts
    taken = (k - (total.cumsum(1) - total)).clamp(min=0).minimum(total)
    return (taken * _share(relevant, total)).sum(1)


def _curve_sums(counts: HammingHistogram, bits: int) -> Tensor:
    """(5, K + 1) sums over the queries of precision, recall, hits, retrieved and relevant items within each radius."""
    retrieved, hits = (part.cumsum(1)[:, : bits + 1] for part in counts)
    relevant = counts.relevant.sum(1, keepdim=True).expand_as(hits)
    parts = (_share(hits, retrieved), _share(hits, relevant), hits, retrieved, relevant)
    return torch.stack([part.sum(0).double() for part in parts])
