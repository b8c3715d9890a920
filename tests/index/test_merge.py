# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash.index import HammingIndex, merge_range, merge_topk
from fasthash.types import HammingRange, HammingTopK

from .cases import as_pairs, naive_range, naive_search, packed


@st.composite
def shards(draw):
    """Indexes that share out codes of few bits, so that distances tie across them, and all codes with their ids."""
    sizes = draw(st.lists(st.integers(0, 15), min_size=1, max_size=4))
    bits, seed = draw(st.sampled_from([4, 12])), draw(st.integers(0, 99))
    ids = torch.randperm(100, generator=torch.Generator().manual_seed(seed))[: sum(sizes)]
    codes, made = packed(sum(sizes), bits, seed), []
    for part, part_ids in zip(codes.split(sizes), ids.split(sizes), strict=True):
        made.append(HammingIndex(bits))
        made[-1].add(part, part_ids)
    return made, codes, ids, packed(3, bits, seed + 1)


@given(case=shards(), k=st.integers(1, 50))
def test_shards_find_what_one_index_of_everything_finds(case, k):
    indexes, codes, ids, queries = case
    found = merge_topk([index.search(queries, k) for index in indexes], k)
    assert as_pairs(found) == naive_search(codes, ids, queries, k)
    assert found.distances.dtype == torch.int32
    in_two_steps = merge_topk([merge_topk([index.search(queries, k)], k) for index in indexes[::-1]], k)
    assert as_pairs(in_two_steps) == as_pairs(found)


@given(case=shards(), radius=st.integers(0, 12))
def test_shards_find_within_a_radius_what_one_index_of_everything_finds(case, radius):
    indexes, codes, ids, queries = case
    found = merge_range([index.range_search(queries, radius) for index in indexes])
    assert as_pairs(found) == naive_range(codes, ids, queries, radius)
    assert found.distances.dtype == torch.int32


def test_no_queries():
    index = HammingIndex(8)
    index.add(packed(3, 8))
    assert merge_topk([index.search(packed(0, 8), 2)] * 2, 5).ids.shape == (0, 5)
    assert merge_range([index.range_search(packed(0, 8), 2)] * 2).offsets.tolist() == [0]


def topk(queries=2, k=3, dtype=torch.int64, device="cpu"):
    return HammingTopK(
        torch.zeros(queries, k, dtype=torch.int32, device=device), torch.zeros(queries, k, dtype=dtype, device=device)
    )


def test_bad_results():
    with pytest.raises(ValueError, match="merge_topk: k must be >= 1, got 0"):
        merge_topk([topk()], 0)
    with pytest.raises(ValueError, match="merge_topk: results must be at least one, got none"):
        merge_topk([], 1)
    with pytest.raises(ValueError, match=r"results must be of the same queries.*got \[\(3, 3\), \(3, 3\)\]"):
        merge_topk([topk(), topk(queries=3)], 1)
    with pytest.raises(ValueError, match="results must be of the same queries, distances like ids"):
        merge_topk([HammingTopK(topk().distances, topk(k=2).ids)], 1)
    with pytest.raises(ValueError, match="ids must be a tensor of dtype int64, got int32"):
        merge_topk([topk(dtype=torch.int32)], 1)
    with pytest.raises(ValueError, match="ids must be on cpu, got meta"):
        merge_topk([topk(), topk(device="meta")], 1)
    with pytest.raises(ValueError, match="merge_range: results must be at least one, got none"):
        merge_range([])
    nothing = HammingRange(torch.zeros(3, dtype=torch.int64), topk(1, 0).distances[0], topk(1, 0).ids[0])
    with pytest.raises(ValueError, match="merge_range: results must be of the same queries"):
        merge_range([nothing, nothing._replace(offsets=torch.zeros(2, dtype=torch.int64))])
    with pytest.raises(ValueError, match="distances must be a tensor of dtype int32, got float32"):
        merge_range([nothing._replace(distances=torch.zeros(0))])
