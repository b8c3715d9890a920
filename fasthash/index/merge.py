# SPDX-License-Identifier: Apache-2.0
"""Results of several searches as the one of a search of everything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.types import HammingRange, HammingTopK

PADDING_ID = -1
PADDING_DISTANCE = torch.iinfo(torch.int32).max


def merge_topk(results: Sequence[HammingTopK], k: int) -> HammingTopK:
    """The k nearest codes of each query among those that several searches found.

    Where every search found the k nearest of its part of the codes, this is the result of one search of all of them,
    bit for bit: the order is (distance, id).

    Args:
        results: one or more `HammingTopK` of the same Q queries, as searches of indexes or shards with different ids
            return them: distances (Q, m) int32 and ids (Q, m) int64, padding included, each with its own m.
        k: how many, >= 1.

    Returns:
        `HammingTopK` with distances (Q, k) int32 and ids (Q, k) int64. Where the results hold fewer than k codes the
        rest is id -1 at distance 2147483647.

    Raises:
        ValueError: no results, `k` < 1, or results of other shapes, dtypes or devices than the first.

    Example:
        >>> found = merge_topk([shard.search(queries, k=10) for shard in shards], k=10)
    """
    op = "merge_topk"
    _checks.require(k >= 1, op, "k", ">= 1", k)
    _checks.require(len(results) > 0, op, "results", "at least one", "none")
    for result in results:
        _check(op, result, results[0], result.distances.dim() == 2 and len(result.ids) == len(results[0].ids))
    distances = torch.cat([result.distances for result in results], dim=1)
    ids = torch.cat([result.ids for result in results], dim=1)
    order = ids.argsort(dim=1, stable=True)
    order = order.gather(1, distances.gather(1, order).argsort(dim=1, stable=True))[:, :k]
    found = padding(len(distances), k, distances.device)
    found.distances[:, : order.shape[1]] = distances.gather(1, order)
    found.ids[:, : order.shape[1]] = ids.gather(1, order)
    return found


def merge_range(results: Sequence[HammingRange]) -> HammingRange:
    """All codes that several searches by radius found, for each query in the order (distance, id).

    Args:
        results: one or more `HammingRange` of the same Q queries, as searches of indexes or shards with different ids
            return them.

    Returns:
        `HammingRange` of everything: the result of one search of all the codes, bit for bit.

    Raises:
        ValueError: no results, or results of other shapes, dtypes or devices than the first.

    Example:
        >>> found = merge_range([shard.range_search(queries, radius=2) for shard in shards])
    """
    op = "merge_range"
    _checks.require(len(results) > 0, op, "results", "at least one", "none")
    for result in results:
        _check(op, result, results[0], result.offsets.shape == results[0].offsets.shape and result.ids.dim() == 1)
    counts = torch.stack([result.offsets.diff() for result in results])  # (results, Q)
    distances, ids = (torch.cat([result[part] for result in results]) for part in (1, 2))
    queries = torch.arange(counts.shape[1], device=counts.device).repeat(len(results))
    keys = (queries.repeat_interleave(counts.flatten()) << 31) + distances
    order = ids.argsort(stable=True)
    order = order[keys[order].argsort(stable=True)]
    offsets = torch.nn.functional.pad(counts.sum(0).cumsum(0), (1, 0))
    return HammingRange(offsets, distances[order], ids[order])


def padding(queries: int, k: int, device: torch.device) -> HammingTopK:
    """What a search of nothing finds: (Q, k) places without a code."""
    return HammingTopK(
        torch.full((queries, k), PADDING_DISTANCE, dtype=torch.int32, device=device),
        torch.full((queries, k), PADDING_ID, dtype=torch.int64, device=device),
    )


def _check(op: str, result: HammingTopK | HammingRange, first: HammingTopK | HammingRange, fits: bool) -> None:
    """Refuses a result that does not belong to the first one."""
    fits = fits and result.distances.shape == result.ids.shape
    _checks.require(fits, op, "results", "of the same queries, distances like ids", [tuple(t.shape) for t in result])
    _checks.require_dtype(op, "distances", result.distances, (torch.int32,))
    _checks.require_dtype(op, "ids", result.ids, (torch.int64,))
    _checks.require_same_device(op, "ids", result.ids, first.ids.device)


def shifted(ids: Tensor, first: int) -> Tensor:
    """Positions in a part that begins at `first` as positions in the whole; padding stays."""
    return torch.where(ids < 0, ids, ids + first) if first else ids
