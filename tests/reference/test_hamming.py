# SPDX-License-Identifier: Apache-2.0
from importlib import import_module

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash import reference

from . import naive


def packed(rows, width, seed=0, levels=256):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (rows, width), dtype=torch.uint8, generator=generator)


@given(q=st.integers(0, 4), n=st.integers(0, 20), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_distance_counts_bits(q, n, width, seed):
    queries, database = packed(q, width, seed), packed(n, width, seed + 100)
    distances = reference.hamming_distance(queries, database)
    assert distances.dtype == torch.int32
    assert distances.shape == (q, n)
    assert distances.tolist() == [[naive.hamming(a, b) for b in database.tolist()] for a in queries.tolist()]


@given(q=st.integers(0, 4), n=st.integers(1, 40), k=st.integers(1, 40), levels=st.sampled_from([1, 2, 256]))
def test_topk_orders_by_distance_then_id(q, n, k, levels):
    k = min(k, n)
    queries, database = packed(q, 2, 1, levels), packed(n, 2, 2, levels)
    found = reference.hamming_topk(queries, database, k)
    pairs = [sorted((naive.hamming(a, b), i) for i, b in enumerate(database.tolist()))[:k] for a in queries.tolist()]
    assert found.distances.dtype == torch.int32
    assert found.ids.dtype == torch.int64
    assert found.distances.tolist() == [[d for d, _ in row] for row in pairs]
    assert found.ids.tolist() == [[i for _, i in row] for row in pairs]


def test_topk_in_chunks_equals_one_chunk(monkeypatch):
    queries, database = packed(7, 3), packed(50, 3, 5)
    expected = reference.hamming_topk(queries, database, 50)
    monkeypatch.setattr(import_module("fasthash.reference.hamming_topk"), "_MAX_CHUNK", 120)
    found = reference.hamming_topk(queries, database, 50)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.distances, expected.distances)


def test_strides():
    queries, database = packed(8, 6)[::2, 1:3], packed(4, 30, 3).T[:, ::2]
    expected = reference.hamming_distance(queries.contiguous(), database.contiguous())
    assert torch.equal(reference.hamming_distance(queries, database), expected)


@pytest.mark.parametrize("op", [reference.hamming_distance, lambda q, d: reference.hamming_topk(q, d, 1)])
@pytest.mark.parametrize(
    ("queries", "database", "text"),
    [
        (torch.zeros(2, 2), packed(3, 2), "queries must be a tensor of dtype uint8"),
        (packed(2, 2), packed(3, 3), r"database must be of shape \(rows, 2\) like queries, got \(3, 3\)"),
        (packed(2, 2)[0], packed(3, 2), "queries must be of shape"),
        (packed(2, 0), packed(3, 0), "queries must be of shape"),
        (packed(2, 2), packed(3, 2).to("meta"), "database must be on cpu, got meta"),
    ],
)
def test_bad_matrices(op, queries, database, text):
    with pytest.raises(ValueError, match=text):
        op(queries, database)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_bad_k(k):
    with pytest.raises(ValueError, match=rf"hamming_topk: k must be in 1..3 \(the database\), got {k}"):
        reference.hamming_topk(packed(2, 2), packed(3, 2), k)
