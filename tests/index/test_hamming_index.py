# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash import reference
from fasthash.index import HammingIndex

INT32_MAX = 2**31 - 1


def packed(rows, bits, seed=0):
    return reference.pack_codes(torch.randn(rows, bits, generator=torch.Generator().manual_seed(seed)))


def naive_search(index_codes, index_ids, queries, k):
    distances = reference.hamming_distance(queries, index_codes).tolist()
    rows = [sorted(zip(row, index_ids.tolist(), strict=True))[:k] for row in distances]
    return [row + [(INT32_MAX, -1)] * (k - len(row)) for row in rows]


def as_pairs(found):
    rows = zip(found.distances.tolist(), found.ids.tolist(), strict=True)
    return [list(zip(distances, ids, strict=True)) for distances, ids in rows]


@given(
    bits=st.sampled_from([3, 8, 12, 64, 70]),
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    k=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_search_orders_by_distance_then_id_and_pads(bits, sizes, k, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randperm(1000, generator=generator)[: sum(sizes)]
    codes, queries = packed(sum(sizes), bits, seed), packed(3, bits, seed + 1)
    index = HammingIndex(bits)
    for part, part_ids in zip(codes.split(sizes), ids.split(sizes), strict=True):
        assert torch.equal(index.add(part, part_ids), part_ids)
    assert len(index) == sum(sizes)
    assert index.ids.tolist() == sorted(ids.tolist())
    found = index.search(queries, k)
    assert found.distances.dtype == torch.int32
    assert found.ids.dtype == torch.int64
    assert as_pairs(found) == naive_search(codes, ids, queries, k)


def test_equal_codes_come_by_id():
    index = HammingIndex(12)
    index.add(torch.zeros(4, 2, dtype=torch.uint8), torch.tensor([9, 2, 7, 4]))
    assert index.search(torch.zeros(1, 2, dtype=torch.uint8), 3).ids.tolist() == [[2, 4, 7]]


def test_automatic_ids_count_on_above_every_given_id():
    index = HammingIndex(8)
    assert index.add(packed(3, 8)).tolist() == [0, 1, 2]
    assert index.add(packed(2, 8), torch.tensor([50, 10])).tolist() == [50, 10]
    assert index.add(packed(2, 8)).tolist() == [51, 52]
    assert index.ids.tolist() == [0, 1, 2, 10, 50, 51, 52]


def test_many_small_additions_equal_one():
    codes = packed(100, 24)
    whole, parts = HammingIndex(24), HammingIndex(24)
    whole.add(codes)
    for row in codes.split(1):
        parts.add(row)
    assert torch.equal(whole.codes, parts.codes)
    assert torch.equal(whole.ids, parts.ids)


def test_empty_index_and_empty_arguments():
    index = HammingIndex(8)
    assert as_pairs(index.search(packed(2, 8), 2)) == [[(INT32_MAX, -1)] * 2] * 2
    assert index.add(packed(0, 8)).shape == (0,)
    assert index.add(packed(0, 8), torch.empty(0, dtype=torch.int64)).shape == (0,)
    index.add(packed(3, 8))
    assert index.search(packed(0, 8), 2).ids.shape == (0, 2)


def test_the_index_keeps_its_own_copy():
    index, codes, ids = HammingIndex(8), packed(4, 8), torch.tensor([3, 1, 2, 0])
    index.add(codes, ids)
    before = copy.deepcopy(index)
    codes.fill_(0)
    ids.fill_(7)
    assert torch.equal(index.codes, before.codes)
    assert torch.equal(index.ids, before.ids)


@pytest.mark.parametrize(
    ("codes", "ids", "text"),
    [
        (packed(3, 12).float(), None, "codes must be a tensor of dtype uint8, got float32"),
        (packed(3, 24), None, r"codes must be of shape \(rows, 2\) for 12 bits, got \(3, 3\)"),
        (packed(3, 12)[0], None, "codes must be of shape"),
        (packed(3, 12).to("meta"), None, "codes must be on cpu, got meta"),
        (torch.full((1, 2), 255, dtype=torch.uint8), None, "codes must be zero behind bit 12, got bits set"),
        (packed(3, 12), torch.tensor([1, 2]), r"ids must be of shape \(3,\), got \(2,\)"),
        (packed(3, 12), torch.tensor([1.0, 2.0, 3.0]), "ids must be a tensor of dtype"),
        (packed(3, 12), torch.tensor([8, -2, 9]), r"ids must be in 0\.\.\d+, got -2"),
        (packed(3, 12), torch.tensor([8, 9, 2**63 - 1]), r"ids must be in 0\.\.\d+, got 9223372036854775807"),
        (packed(3, 12), torch.tensor([8, 9, 8]), "ids must be unique, got 8 more than once"),
        (packed(3, 12), torch.tensor([8, 1, 9]), "ids must be new to the index, got 1, which it holds"),
    ],
)
def test_bad_additions_add_nothing(codes, ids, text):
    index = HammingIndex(12)
    index.add(packed(2, 12))
    with pytest.raises(ValueError, match=text):
        index.add(codes, ids)
    assert index.ids.tolist() == [0, 1]
    assert index.add(packed(1, 12)).tolist() == [2]


@pytest.mark.parametrize(
    ("queries", "k", "text"),
    [
        (packed(3, 12), 0, "k must be >= 1, got 0"),
        (packed(3, 24), 1, r"queries must be of shape \(rows, 2\) for 12 bits"),
        (packed(3, 12).int(), 1, "queries must be a tensor of dtype uint8"),
    ],
)
def test_bad_searches(queries, k, text):
    index = HammingIndex(12)
    index.add(packed(2, 12))
    with pytest.raises(ValueError, match=text):
        index.search(queries, k)


def test_bad_construction():
    with pytest.raises(ValueError, match="bits must be >= 1, got 0"):
        HammingIndex(0)
    with pytest.raises(ValueError, match="device must be one that is there, got 'toaster'"):
        HammingIndex(8, "toaster")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="device must be one that is there, got 'cuda'"):
        HammingIndex(8, "cuda")


def test_repr():
    assert repr(HammingIndex(8)) == "HammingIndex(bits=8, codes=0, device='cpu')"
