# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from tests.cases import packed_layouts, random_codes
from tests.hamming import assert_ctrl_c_ends, few_levels, naive_distances

WIDTHS = [1, 3, 4, 7, 8, 9, 16, 24, 32, 40, 256, 264, 1560]
SIZES = [1, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1000]


def ordered(queries, database, k):
    """The k nearest in the order (distance, id), by sorting everything."""
    distances = naive_distances(queries, database)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return torch.from_numpy(np.take_along_axis(distances, ids, 1)), torch.from_numpy(ids)


def assert_equal(found, expected):
    distances, ids = found
    assert distances.dtype == torch.int32
    assert ids.dtype == torch.int64
    assert torch.equal(distances.cpu(), expected[0])
    assert torch.equal(ids.cpu(), expected[1])


def check(kernels, queries, database, *ks):
    for k in ks:
        found = kernels.ops.hamming_topk(queries.to(kernels.device), database.to(kernels.device), -1, k, None, None)
        assert_equal(found, ordered(queries, database, k))


@pytest.mark.parametrize("width", WIDTHS)
def test_any_width(kernels, width):
    check(kernels, random_codes(3, width), random_codes(80, width), 1, 9, 80)


@pytest.mark.parametrize("codes", SIZES)
def test_any_number_of_codes(kernels, codes):
    check(kernels, random_codes(3, 8), random_codes(codes, 8), 1, (codes + 1) // 2, codes)


@pytest.mark.parametrize("width", WIDTHS)
def test_machines_find_the_same(machine, width):
    for codes in (1, 63, 65, 700):
        for queries, database in (
            (random_codes(5, width), random_codes(codes, width)),
            (few_levels(5, width), few_levels(codes, width, 1)),
        ):
            for k in sorted({1, min(10, codes), codes}):
                assert_equal(ops.hamming_topk(queries, database, k), ordered(queries, database, k))


@pytest.mark.parametrize("width", [1, 4, 8, 12, 32])
def test_any_layout(kernels, width):
    for queries in packed_layouts(3, width).values():
        check(kernels, queries, random_codes(40, width), 7)
    for database in packed_layouts(40, width).values():
        check(kernels, random_codes(3, width), database, 7)


def test_equal_codes_come_by_id(kernels):
    database = torch.full((600, 8), 0x5A, dtype=torch.uint8)
    check(kernels, torch.cat([database[:1], ~database[:1]]), database, 1, 100, 600)


def test_the_nearest_come_last(kernels):
    """Every code is nearer than those before it, so that every one is a candidate for a while."""
    bits = torch.arange(64).flip(0)[:, None] > torch.arange(64)
    database = ops.pack_codes(bits).repeat_interleave(11, 0)
    check(kernels, torch.zeros(2, 8, dtype=torch.uint8), database, 1, 5, 12, 700)


def test_candidates_are_dropped_many_times(machine):
    database = ops.pack_codes(torch.arange(64).flip(0)[:, None] > torch.arange(64)).repeat_interleave(500, 0)
    query = torch.zeros(1, 8, dtype=torch.uint8)
    for k in (1, 3, 499, 501, 2000):
        assert_equal(ops.hamming_topk(query, database, k), ordered(query, database, k))


def test_no_queries(kernels):
    distances, ids = kernels.ops.hamming_topk(
        random_codes(0, 8).to(kernels.device), random_codes(9, 8).to(kernels.device), -1, 3, None, None
    )
    assert distances.shape == ids.shape == (0, 3)


def test_segments_and_tiles_of_cuda(cuda_kernels):
    """More segments than the warps of one block, the last one short; histograms beyond shared memory."""
    check(cuda_kernels, random_codes(2, 8), random_codes(3001, 8), 5, 3001)
    check(cuda_kernels, random_codes(1, 1560), random_codes(40, 1560), 40)


@settings(max_examples=80, deadline=None)
@given(
    queries=st.integers(1, 12),
    codes=st.integers(1, 400),
    width=st.integers(1, 40),
    levels=st.sampled_from([1, 2, 256]),
    data=st.data(),
)
def test_any_shape(queries, codes, width, levels, data):
    k = data.draw(st.integers(1, codes))
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    q, d = (torch.randint(0, levels, (rows, width), dtype=torch.uint8) for rows in (queries, codes))
    expected = ordered(q, d, k)
    assert_equal(reference.hamming_topk(q, d, k), expected)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert_equal(ops.hamming_topk(q, d, k), expected)
    _C.force_machine("")


@pytest.mark.parametrize(("queries", "codes", "width"), [(1, 20_011, 8), (3, 9001, 12), (200, 5003, 8), (150, 301, 32)])
def test_threads_give_the_same_bits(threads, queries, codes, width):
    q, d = random_codes(queries, width), random_codes(codes, width)
    for k in (1, 50, codes):
        expected = ordered(q, d, k)
        for count in (1, 2, 7):
            threads(count)
            assert_equal(ops.hamming_topk(q, d, k), expected)


def test_batches_give_the_same_bits():
    queries, database = random_codes(70, 8), random_codes(3000, 8)
    whole = ops.hamming_topk(queries, database, 20)
    parts = [ops.hamming_topk(part, database, 20) for part in queries.split(9)]
    assert torch.equal(whole.ids, torch.cat([part.ids for part in parts]))
    assert torch.equal(whole.distances, torch.cat([part.distances for part in parts]))


def test_more_queries_than_the_workspace_holds_at_once(threads):
    queries, database = few_levels(60, 2), few_levels(200_000, 2, 1)
    key = ops.hamming_distance(queries, database).long() * len(database) + torch.arange(len(database))
    expected = key.topk(100_000, largest=False, sorted=True).values
    for count in (1, 2):
        threads(count)
        found = ops.hamming_topk(queries, database, 100_000)
        assert torch.equal(found.distances * len(database) + found.ids, expected)


def test_repeated_calls_give_the_same_bits(kernels):
    queries, database = few_levels(4, 8).to(kernels.device), few_levels(700, 8, 1).to(kernels.device)
    first, second = (kernels.ops.hamming_topk(queries, database, -1, 300, None, None) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_numpy_door_gives_the_same_bits(machine):
    queries, database = random_codes(9, 20)[:, 3:15], random_codes(150, 12)
    distances, ids = _C.hamming_topk(queries.numpy(), database.numpy(), 33)
    assert (distances.dtype, ids.dtype) == (np.int32, np.int64)
    assert_equal(map(torch.from_numpy, (distances, ids)), tuple(ops.hamming_topk(queries, database, 33)))


def test_opcheck(device):
    arguments = (random_codes(4, 6).to(device), random_codes(9, 6).to(device), -1, 3, None, None)
    torch.library.opcheck(torch.ops.fasthash.hamming_topk.default, arguments)


def test_compiles_as_one_graph(device):
    torch._dynamo.reset()
    compiled = torch.compile(lambda q, d: ops.hamming_topk(q, d, 3), fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (4, 9):
        queries, database = random_codes(rows, 6).to(device), random_codes(3 * rows, 6).to(device)
        found, expected = compiled(queries, database), ops.hamming_topk(queries, database, 3)
        assert torch.equal(found.distances, expected.distances)
        assert torch.equal(found.ids, expected.ids)


@pytest.mark.parametrize("topk", [ops.hamming_topk, reference.hamming_topk], ids=["ops", "reference"])
@pytest.mark.parametrize("k", [0, -1, 4])
def test_bad_k_is_named(topk, k):
    with pytest.raises(ValueError, match=rf"^hamming_topk: k must be in 1\.\.3 \(the database\), got {k}$"):
        topk(random_codes(2, 2), random_codes(3, 2), k)


def test_an_empty_database_holds_no_k():
    with pytest.raises(ValueError, match=r"^hamming_topk: k must be in 1\.\.0 \(the database\), got 1$"):
        ops.hamming_topk(random_codes(2, 2), random_codes(0, 2), 1)


def test_bad_codes_are_named():
    with pytest.raises(ValueError, match=r"^hamming_topk: queries must be a tensor of dtype uint8, got float32"):
        ops.hamming_topk(torch.zeros(2, 2), random_codes(3, 2), 1)
    with pytest.raises(ValueError, match=r"^hamming_topk: database must be of shape \(rows, 2\) like queries"):
        ops.hamming_topk(random_codes(2, 2), random_codes(3, 3), 1)


CALLS = {
    "torch": "ops.hamming_topk(torch.from_numpy(queries), torch.from_numpy(database), 10)",
    "numpy": "_C.hamming_topk(queries, database, 10)",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ctrl_c_ends_a_long_search(call):
    assert_ctrl_c_ends(call)
