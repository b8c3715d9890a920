# SPDX-License-Identifier: Apache-2.0
"""Retrieval metrics as loops over ranked lists of 0 and 1."""

from __future__ import annotations

from itertools import permutations


def average_precision(ranked, relevant, k, normalizer):
    """Of one ranked list; `relevant` counts the relevant items of the whole database."""
    k = len(ranked) if k is None else k
    hits, total = 0, 0.0
    for rank, item in enumerate(ranked[:k], 1):
        hits += item
        total += item * hits / rank
    return total / max(1, {"relevant": relevant, "hits": hits, "min": min(relevant, k)}[normalizer])


def rank(distances, relevance, order):
    """Relevance by distance, ties in the given order of the items."""
    return [relevance[i] for i in sorted(order, key=lambda i: distances[i])]


def expected(distances, relevance, score):
    """Mean score of the ranked list over every order of the items."""
    orders = list(permutations(range(len(distances))))
    return sum(score(rank(distances, relevance, order)) for order in orders) / len(orders)
