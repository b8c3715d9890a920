# SPDX-License-Identifier: Apache-2.0
"""Codes, and searches as loops over sorted lists."""

from __future__ import annotations

from itertools import pairwise

import torch

from fasthash import reference
from fasthash.index import HammingIndex

INT32_MAX = 2**31 - 1


def packed(rows, bits, seed=0):
    return reference.pack_codes(torch.randn(rows, bits, generator=torch.Generator().manual_seed(seed)))


def filled(bits=12, rows=20, step=1, **how):
    """An index with ids 0, step, 2 step, ..."""
    index = HammingIndex(bits, **how)
    index.add(packed(rows, bits), torch.arange(rows) * step)
    return index


def naive_ranking(codes, ids, queries, allowed=None):
    """For each query the pairs (distance, id), sorted."""
    distances = reference.hamming_distance(queries, codes).tolist()
    kept = set(ids.tolist()) if allowed is None else allowed
    return [sorted((d, i) for d, i in zip(row, ids.tolist(), strict=True) if i in kept) for row in distances]


def naive_search(codes, ids, queries, k, allowed=None):
    ranking = naive_ranking(codes, ids, queries, allowed)
    return [row[:k] + [(INT32_MAX, -1)] * (k - len(row)) for row in ranking]


def naive_range(codes, ids, queries, radius, allowed=None):
    return [[pair for pair in row if pair[0] <= radius] for row in naive_ranking(codes, ids, queries, allowed)]


def as_pairs(found):
    """Of a HammingTopK or a HammingRange: for each query its pairs (distance, id)."""
    if found.ids.dim() == 2:
        rows = zip(found.distances.tolist(), found.ids.tolist(), strict=True)
        return [list(zip(distances, ids, strict=True)) for distances, ids in rows]
    pairs, offsets = list(zip(found.distances.tolist(), found.ids.tolist(), strict=True)), found.offsets.tolist()
    assert offsets[-1] == len(pairs)
    return [pairs[begin:end] for begin, end in pairwise(offsets)]
