# SPDX-License-Identifier: Apache-2.0
"""Mean average precision, in closed form over the orders of tied items."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.metrics import _retrieval
from fasthash.types import HammingHistogram, PackedDatabase

NORMALIZERS = ("relevant", "hits", "min")

_OP = "mean_average_precision"


@overload
def mean_average_precision(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    *,
    k: int | None = ...,
    ties: str = ...,
    normalizer: str = ...,
    empty: str = ...,
    per_query: Literal[False] = ...,
) -> float: ...


@overload
def mean_average_precision(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    *,
    k: int | None = ...,
    ties: str = ...,
    normalizer: str = ...,
    empty: str = ...,
    per_query: Literal[True],
) -> Tensor: ...


def mean_average_precision(
    query_codes: Tensor,
    database_codes: Tensor | PackedDatabase,
    query_labels: Tensor,
    database_labels: Tensor,
    *,
    k: int | None = None,
    ties: str = "expected",
    normalizer: str = "relevant",
    empty: str = "zero",
    per_query: bool = False,
) -> float | Tensor:
    """Mean average precision (mAP) of ranking the database by Hamming distance.

        AP = 1/Z * sum over ranks t <= k of rel_t * (relevant items among the first t) / t

    Items at equal distance have no order of their own, and with short codes most items tie: the order of the database
    alone can move mAP by a tenth. `ties="expected"` is the exact mean over all orders of tied items. With n items, n+
    of them relevant, at one distance, behind N items, N+ of them relevant, that distance adds

        n+/n * sum for t = N+1 .. N+n of [N+ + 1 + (t - N - 1) * (n+ - 1)/(n - 1)] / t

    which needs only counts by distance (`fasthash.hamming_histogram`): O(N) per query, no sorting, and no matrix of
    all distances. `ties="index"` ranks the items (`fasthash.hamming_topk`).

    What Z is differs between libraries once k cuts the list; without k all three agree. The default is the textbook's
    (and trec_eval's) `relevant`, the only one by which finding more never lowers the score. Tables in hashing papers
    (mAP@1000, mAP@5000) mostly use `hits`.

    Args:
        query_codes: (Q, W) uint8 packed codes.
        database_codes: (N, W) uint8 packed codes, or what `fasthash.ops.prepare_database` makes of them.
        query_labels: (Q,) integer class ids, or (Q, C) multi-hot rows of any dtype (set where > 0).
        database_labels: (N,) or (N, C), of the same kind; an item is relevant if it shares a label with the query.
        k: look at the first k ranks only; None means all.
        ties: `expected`, or `index` for the order (distance, index).
        normalizer: Z is all `relevant` items of the database; or the `hits`, the relevant items among the first k
            (AP is 0 where there is none); or `min`, the smaller of k and all relevant items, so that a perfect ranking
            scores 1.
        empty: a query without any relevant item counts as `zero`, or is left out of the mean (`skip`).
        per_query: return (Q,) average precisions in place of their mean, with NaN for skipped queries.

    Returns:
        A number, or (Q,) float64 with `per_query`.

    Raises:
        ValueError: codes or labels that do not fit, k outside 1..N, another word than those named, or `empty="skip"`
            where no query has a relevant item.

    Source:
        The expectation is that of He, Cakir, Bargal, Sclaroff, "Hashing as Tie-Aware Learning to Rank", CVPR 2018
        (after McSherry and Najork, ECIR 2008); the cut-off and the normalizer `hits` under ties are worked out here.
    """
    _checks.require_choice(_OP, "ties", ties, _retrieval.TIES)
    _checks.require_choice(_OP, "normalizer", normalizer, NORMALIZERS)
    _checks.require_choice(_OP, "empty", empty, _retrieval.EMPTY)
    data = _retrieval.checked(_OP, query_codes, database_codes, query_labels, database_labels)
    if k is not None:
        _retrieval.check_k(_OP, k, len(database_codes))
    values, relevant = [], []
    if ties == "expected":
        for counts in _retrieval.counted_chunks(data):
            relevant.append(counts.relevant.sum(1))
            values.append(_expected(counts, k, normalizer))
    else:
        for ranked, count in _retrieval.ranked_chunks(data, k):
            relevant.append(count)
            values.append(_of_ranking(ranked, count, normalizer))
    return _retrieval.summarize(_OP, torch.cat(values), torch.cat(relevant) > 0, empty, per_query)


def _normalizer(kind: str, relevant: Tensor, k: int | None) -> Tensor:
    """Z of `relevant` and `min` from (q,) counts of relevant items, at least 1."""
    smaller = relevant if kind == "relevant" or k is None else relevant.clamp(max=k)
    return smaller.clamp(min=1).double()


def _of_ranking(ranked: Tensor, relevant: Tensor, normalizer: str) -> Tensor:
    """(q,) average precision of relevance (q, k) in ranked order."""
    rank = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    total = (ranked * ranked.cumsum(1) / rank).sum(1)
    if normalizer == "hits":
        return total / ranked.sum(1).clamp(min=1)
    return total / _normalizer(normalizer, relevant, ranked.shape[1])


def _expected(counts: HammingHistogram, k: int | None, normalizer: str) -> Tensor:
    """(q,) expected average precision from counts by distance (q, D)."""
    if k is not None and normalizer == "hits":
        return _expected_over_hits(counts, k)
    total, relevant = counts.total.double(), counts.relevant.double()
    before = total.cumsum(1) - total
    taken = total if k is None else (k - before).clamp(min=0).minimum(total)
    sums = _tie_sum(before, relevant.cumsum(1) - relevant, total, relevant, taken).sum(1)
    return sums / _normalizer(normalizer, counts.relevant.sum(1), k)


def _tie_sum(before: Tensor, hits_before: Tensor, total: Tensor, relevant: Tensor, taken: Tensor) -> Tensor:
    """Expected sum of rel_t * precision_t over the first `taken` ranks of ties; all arguments float64, one shape.

    A tie holds `total` items, `relevant` of them relevant, behind `before` items, `hits_before` of them relevant.
    The sum over its ranks t of (A + B t) / t is A (H(before + taken) - H(before)) + B taken, H the harmonic numbers.
    """
    growth = (relevant - 1) / (total - 1).clamp(min=1)
    constant = hits_before + 1 - growth * (before + 1)
    harmonic = torch.digamma(before + taken + 1) - torch.digamma(before + 1)
    return relevant / total.clamp(min=1) * (constant * harmonic + growth * taken)


def _expected_over_hits(counts: HammingHistogram, k: int) -> Tensor:
    """(q,) expectation of the ratio whose divisor, the hits among the first k, is itself random.

    Only the tie that rank k cuts is random: h of its first m items are relevant with hypergeometric probability, and
    given h those m items are a tie of their own.
    """
    total, relevant = counts.total.double(), counts.relevant.double()
    before, hits_before = total.cumsum(1) - total, relevant.cumsum(1) - relevant
    whole = before + total < k
    sums = (_tie_sum(before, hits_before, total, relevant, total) * whole).sum(1, keepdim=True)
    cut = whole.sum(1, keepdim=True)  # the distance at which rank k lies
    before, hits_before, total, relevant = (part.gather(1, cut) for part in (before, hits_before, total, relevant))
    taken = k - before
    hits = torch.arange(int(taken.minimum(relevant).max()) + 1, device=total.device).double().unsqueeze(0)
    chance = _hypergeometric(hits, taken, total, relevant)  # (q, h)
    taken = taken.expand_as(chance)
    sums = sums + _tie_sum(before, hits_before, taken, hits.expand_as(chance), taken)
    return (chance * sums / (hits_before + hits).clamp(min=1)).sum(1)


def _hypergeometric(hits: Tensor, taken: Tensor, total: Tensor, relevant: Tensor) -> Tensor:
    """Chance of `hits` relevant items among `taken` of `total`; rows sum to 1."""
    misses, irrelevant = taken - hits, total - relevant
    possible = (hits <= relevant) & (misses >= 0) & (misses <= irrelevant)
    logarithm = _log_choose(relevant, hits) + _log_choose(irrelevant, misses)
    return logarithm.masked_fill(~possible, -torch.inf).softmax(1)


def _log_choose(n: Tensor, r: Tensor) -> Tensor:
    """Logarithm of the binomial coefficient, up to a constant of n; any value where r is not in 0..n."""
    return -torch.lgamma(r.clamp(min=0) + 1) - torch.lgamma((n - r).clamp(min=0) + 1)
