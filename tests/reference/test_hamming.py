# SPDX-License-Identifier: Apache-2.0
from importlib import import_module
from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash import reference

from . import naive

DTYPES = (torch.int64, torch.int32, torch.int64)


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


def allowed_by(mask, n):
    return mask is None or bool(mask[n // 8] >> (7 - n % 8) & 1)


def selections(count, seed):
    """ids and allow, each of them absent, or at random; spare bits of the mask are set."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randperm(count, generator=generator) * 3 - count
    mask = torch.randint(256, ((count + 7) // 8,), dtype=torch.uint8, generator=generator)
    if count % 8:
        mask[-1] |= 0xFF >> (count % 8)
    return [(i, a) for i in (None, ids) for a in (None, mask)]


def found_by_loop(query, database, ids, mask):
    ids = list(range(len(database))) if ids is None else ids.tolist()
    mask = None if mask is None else mask.tolist()
    pairs = ((naive.hamming(query, code), ids[n]) for n, code in enumerate(database) if allowed_by(mask, n))
    return sorted(pairs)


@given(q=st.integers(0, 3), n=st.integers(1, 40), seed=st.integers(0, 99), levels=st.sampled_from([1, 2, 256]))
def test_selected_topk_pads_what_is_missing(q, n, seed, levels):
    queries, database, k = packed(q, 2, 1, levels), packed(n, 2, 2, levels), (n + 1) // 2
    for ids, allow in selections(n, seed):
        rows = [found_by_loop(query, database.tolist(), ids, allow) for query in queries.tolist()]
        rows = [(row + [(2147483647, -1)] * k)[:k] for row in rows]
        for form in (database, reference.prepare_database(database)):
            found = reference.hamming_topk(queries, form, k, ids, allow)
            assert found.distances.dtype == torch.int32
            assert found.ids.dtype == torch.int64
            assert found.distances.tolist() == [[d for d, _ in row] for row in rows]
            assert found.ids.tolist() == [[i for _, i in row] for row in rows]


@given(
    q=st.integers(0, 3),
    n=st.integers(0, 40),
    radius=st.integers(0, 17),
    seed=st.integers(0, 99),
    levels=st.sampled_from([1, 2, 256]),
)
def test_range_orders_by_distance_then_id(q, n, radius, seed, levels):
    queries, database = packed(q, 2, 1, levels), packed(n, 2, 2, levels)
    for ids, allow in selections(n, seed):
        rows = [found_by_loop(query, database.tolist(), ids, allow) for query in queries.tolist()]
        rows = [[pair for pair in row if pair[0] <= radius] for row in rows]
        for form in (database, reference.prepare_database(database)):
            found = reference.hamming_range(queries, form, radius, ids, allow)
            assert (found.offsets.dtype, found.distances.dtype, found.ids.dtype) == DTYPES
            assert found.offsets.tolist() == [0, *accumulate(len(row) for row in rows)]
            assert found.distances.tolist() == [d for row in rows for d, _ in row]
            assert found.ids.tolist() == [i for row in rows for _, i in row]


@given(
    q=st.integers(0, 3), n=st.integers(0, 40), kind=st.sampled_from(["none", "ids", "bits"]), seed=st.integers(0, 99)
)
def test_histogram_counts_codes_at_each_distance(q, n, kind, seed):
    queries, database = packed(q, 2, seed), packed(n, 2, seed + 1)
    labels = {
        "none": (None, None),
        "ids": (packed(q, 1, seed, 4)[:, 0], packed(n, 1, seed + 1, 4)[:, 0].long()),
        "bits": (packed(q, 2, seed, 5), packed(n, 2, seed + 1, 5)),
    }[kind]
    total, relevant = ([[0] * 17 for _ in range(q)] for _ in range(2))
    for i, query in enumerate(queries.tolist()):
        for j, code in enumerate(database.tolist()):
            total[i][naive.hamming(query, code)] += 1
            if kind != "none":
                a, b = labels[0][i].tolist(), labels[1][j].tolist()
                related = a == b if kind == "ids" else any(x & y for x, y in zip(a, b, strict=True))
                relevant[i][naive.hamming(query, code)] += related
    for form in (database, reference.prepare_database(database)):
        found = reference.hamming_histogram(queries, form, *labels)
        assert found.total.dtype == found.relevant.dtype == torch.int64
        assert found.total.shape == (q, 17)
        assert found.total.tolist() == total
        assert found.relevant.shape == ((0,) if kind == "none" else (q, 17))
        assert kind == "none" or found.relevant.tolist() == relevant


@pytest.mark.parametrize("op", ["hamming_range", "hamming_histogram"])
def test_chunks_equal_one_chunk(monkeypatch, op):
    queries, database = packed(7, 3), packed(50, 3, 5)
    inputs = [12] if op == "hamming_range" else [torch.arange(7), torch.arange(50) % 9]
    expected = getattr(reference, op)(queries, database, *inputs)
    monkeypatch.setattr(import_module(f"fasthash.reference.{op}"), "_MAX_CHUNK", 120)
    found = getattr(reference, op)(queries, database, *inputs)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


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


@pytest.mark.parametrize(
    "op",
    [
        reference.hamming_distance,
        lambda q, d: reference.hamming_topk(q, d, 1),
        lambda q, d: reference.hamming_range(q, d, 1),
        reference.hamming_histogram,
    ],
)
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
