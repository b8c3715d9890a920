# SPDX-License-Identifier: Apache-2.0
"""How well codes search, in the numbers that are usually given."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from fasthash import metrics
from fasthash.index import HammingIndex


@dataclass
class Scores:
    """Retrieval quality of one set of codes; every number in [0, 1], more is better.

    Attributes:
        mean_average_precision: Over the whole ranking; the expectation over the orders of equally distant items.
        precision_at_10: Share of right ones among the ten nearest.
        precision_within_radius_2: Share of right ones among all within Hamming distance 2; 0 where there are none.
        recall: Recall within each Hamming radius within which anything lies, rising; sums over all queries.
        precision: Precision within the same radii.
    """

    mean_average_precision: float
    precision_at_10: float
    precision_within_radius_2: float
    recall: list[float]
    precision: list[float]

    def precision_at_recall(self, recall: float) -> float | None:
        """Precision within the smallest radius that reaches ``recall``, or None if none does."""
        return next((p for r, p in zip(self.recall, self.precision, strict=True) if r >= recall), None)

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON can hold them."""
        return asdict(self)


def measure(query_codes: Tensor, database_codes: Tensor, query_labels: Tensor, database_labels: Tensor) -> Scores:
    """Searches all queries in the database and scores what comes.

    Args:
        query_codes: (Q, W) uint8 packed.
        database_codes: (N, W) uint8 packed.
        query_labels: (Q,) int64.
        database_labels: (N,) int64; an item is right when its label is the query's.
    """
    sides = query_codes, database_codes, query_labels, database_labels
    precision, recall = metrics.precision_recall_curve(*sides, average="micro")
    held = recall.diff(prepend=recall.new_zeros(1)) > 0
    return Scores(
        mean_average_precision=metrics.mean_average_precision(*sides),
        precision_at_10=metrics.precision_at_k(*sides, k=min(10, len(database_codes))),
        precision_within_radius_2=metrics.precision_within_radius(*sides, radius=2),
        recall=recall[held].tolist(),
        precision=precision[held].tolist(),
    )


def queries_per_second(
    query_codes: Tensor, database_codes: Tensor, bits: int, k: int = 10, seconds: float = 0.3
) -> float:
    """Queries answered in a second by an index of ``database_codes``, all queries in one call.

    The fastest of the calls made in ``seconds`` counts: other work on the machine only ever slows a call.
    """
    index = HammingIndex(bits)
    index.add(database_codes)
    index.search(query_codes, k)
    fastest, end = float("inf"), time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        index.search(query_codes, k)
        fastest = min(fastest, time.perf_counter() - began)
    return len(query_codes) / fastest
