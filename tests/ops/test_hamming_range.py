# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash
from fasthash import _C, ops, reference
from tests.cases import packed_layouts, random_codes
from tests.hamming import (
    arguments,
    assert_ctrl_c_ends,
    assert_same,
    few_levels,
    masks,
    naive_distances,
    range_tensors,
    ranked,
    shuffled_ids,
)

WIDTHS = [1, 3, 4, 5, 7, 8, 9, 12, 16, 24, 32, 40, 264]
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 129, 257, 700]
PACKED = pytest.mark.parametrize("packed", [False, True], ids=["rows", "packed"])


def expected(queries, database, radius, ids=None, allow=None):
    return range_tensors(ranked(queries, database, ids, allow), radius)


def check(kernels, queries, database, radius, *, packed=False, ids=None, allow=None):
    codes, packed_codes = arguments(database, kernels.device, packed)
    ids_there, allow_there = (x if x is None else x.to(kernels.device) for x in (ids, allow))
    found = kernels.ops.hamming_range(queries.to(kernels.device), codes, packed_codes, radius, ids_there, allow_there)
    assert_same(found, expected(queries, database, radius, ids, allow))


@PACKED
@pytest.mark.parametrize("width", WIDTHS)
def test_any_width(kernels, packed, width):
    queries, database = random_codes(3, width), random_codes(80, width)
    for radius in (0, 4 * width - 2, 4 * width, 8 * width):
        check(kernels, queries, database, radius, packed=packed)


@PACKED
@pytest.mark.parametrize("codes", SIZES)
def test_any_number_of_codes(kernels, packed, codes):
    """What fills the last tile is zeros, and so is the first query: it must not be found."""
    queries = torch.cat([torch.zeros(1, 8, dtype=torch.uint8), random_codes(2, 8)])
    for radius in (0, 31, 64):
        check(kernels, queries, random_codes(codes, 8), radius, packed=packed)


@pytest.mark.parametrize("queries", [0, 1, 33, 65, 130])
def test_any_number_of_queries(kernels, queries):
    check(kernels, random_codes(queries, 8), random_codes(40, 8), 30)


def test_a_radius_beyond_the_code_finds_every_code(kernels):
    queries, database = random_codes(2, 3), random_codes(30, 3)
    for radius in (24, 25, 2**31 - 1, 2**31, 2**40, 2**63 - 1):
        check(kernels, queries, database, radius)


def test_nothing_within_the_radius(kernels):
    offsets, distances, ids = kernels.ops.hamming_range(
        torch.zeros(3, 8, dtype=torch.uint8, device=kernels.device),
        torch.full((9, 8), 255, dtype=torch.uint8, device=kernels.device),
        -1,
        63,
        None,
        None,
    )
    assert offsets.tolist() == [0, 0, 0, 0]
    assert distances.shape == ids.shape == (0,)


@pytest.mark.parametrize("width", [1, 4, 8, 12, 32])
def test_any_layout(kernels, width):
    for queries in packed_layouts(3, width).values():
        check(kernels, queries, random_codes(40, width), 4 * width)
    for database in packed_layouts(40, width).values():
        check(kernels, random_codes(3, width), database, 4 * width)


def test_equal_codes_come_by_id(kernels):
    database = torch.full((300, 8), 0x5A, dtype=torch.uint8)
    queries = torch.cat([database[:1], ~database[:1]])
    for ids in (None, torch.arange(300).flip(0), shuffled_ids(300)):
        for radius in (0, 63, 64):
            check(kernels, queries, database, radius, ids=ids)


@PACKED
@pytest.mark.parametrize("width", [3, 8, 32])
def test_ids_are_returned_and_order_ties(kernels, packed, width):
    for radius in (width // 2, 8 * width):
        check(kernels, few_levels(3, width), few_levels(200, width, 1), radius, packed=packed, ids=shuffled_ids(200))


def test_least_and_greatest_ids(kernels):
    low, high = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    ids = torch.tensor([high, low, 0, -1, high - 1, low + 1])
    database = torch.zeros(6, 8, dtype=torch.uint8)
    check(kernels, database[:1], database, 0, ids=ids)


def test_strided_ids_and_mask(kernels):
    ids = torch.stack([shuffled_ids(50), torch.zeros(50, dtype=torch.int64)], 1)[:, 0]
    allow = masks(50)["dense"].repeat_interleave(2)[::2]
    check(kernels, few_levels(3, 8), few_levels(50, 8, 1), 3, ids=ids, allow=allow)


def test_equal_ids_are_safe(kernels):
    queries, database = few_levels(2, 8), few_levels(150, 8, 1)
    codes = [queries.to(kernels.device), database.to(kernels.device), -1]
    for ids in (torch.zeros(150, dtype=torch.int64), torch.arange(150) // 7 - 5):
        for radius in (2, 64):
            offsets, distances, found = kernels.ops.hamming_range(*codes, radius, ids.to(kernels.device), None)
            right = expected(queries, database, radius)
            assert torch.equal(offsets.cpu(), right[0])
            assert torch.equal(distances.cpu(), right[1])
            for q, row in enumerate(naive_distances(queries, database).tolist()):
                place = slice(int(offsets[q]), int(offsets[q + 1]))
                pairs = zip(distances[place].tolist(), found[place].tolist(), strict=True)
                there = (pair for pair in zip(row, ids.tolist(), strict=True) if pair[0] <= radius)
                assert Counter(pairs) == Counter(there)


@PACKED
@pytest.mark.parametrize("with_ids", [False, True], ids=["positions", "ids"])
def test_masks(kernels, packed, with_ids):
    for codes in (1, 7, 65, 300):
        ids = shuffled_ids(codes) if with_ids else None
        for allow in masks(codes).values():
            for radius in (0, 3, 64):
                queries, database = few_levels(2, 8), few_levels(codes, 8, 1)
                check(kernels, queries, database, radius, packed=packed, ids=ids, allow=allow)


@pytest.mark.parametrize("width", WIDTHS)
def test_machines_find_the_same(machine, width):
    for codes in (1, 63, 65, 700):
        queries, ids, allow = few_levels(3, width), shuffled_ids(codes), masks(codes)["dense"]
        for database in (random_codes(codes, width), few_levels(codes, width, 1)):
            packed = ops.prepare_database(database)
            for radius in (0, width, 4 * width, 8 * width):
                plain = expected(queries, database, radius)
                both = expected(queries, database, radius, ids, allow)
                for form in (database, packed):
                    assert_same(ops.hamming_range(queries, form, radius), plain)
                    assert_same(ops.hamming_range(queries, form, radius, ids, allow), both)


@settings(max_examples=80, deadline=None)
@given(
    queries=st.integers(0, 12),
    codes=st.integers(0, 400),
    width=st.integers(1, 40),
    levels=st.sampled_from([1, 2, 256]),
    density=st.sampled_from([None, 0.0, 0.03, 0.5, 1.0]),
    own_ids=st.booleans(),
    data=st.data(),
)
def test_any_shape(queries, codes, width, levels, density, own_ids, data):
    radius = data.draw(st.integers(0, 8 * width + 2))
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    q, d = (torch.randint(0, levels, (rows, width), dtype=torch.uint8) for rows in (queries, codes))
    ids = torch.randperm(2 * codes)[:codes] - codes if own_ids else None
    allow = None if density is None else torch.from_numpy(np.packbits((torch.rand(codes) < density).numpy()))
    right = expected(q, d, radius, ids, allow)
    packed = ops.prepare_database(d)
    assert_same(reference.hamming_range(q, d, radius, ids, allow), right)
    assert_same(reference.hamming_range(q, packed, radius, ids, allow), right)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert_same(ops.hamming_range(q, d, radius, ids, allow), right)
        assert_same(ops.hamming_range(q, packed, radius, ids, allow), right)
    _C.force_machine("")


@pytest.mark.parametrize(("queries", "codes", "width"), [(1, 20_011, 8), (3, 9001, 12), (200, 601, 3), (150, 301, 32)])
def test_threads_give_the_same_bits(threads, queries, codes, width):
    q, d, ids = random_codes(queries, width), random_codes(codes, width), shuffled_ids(codes)
    packed, allow = ops.prepare_database(d), masks(codes)["dense"]
    for radius in (2 * width, 4 * width):
        for selection in ((None, None), (ids, allow)):
            right = expected(q, d, radius, *selection)
            for count in (1, 2, 7):
                threads(count)
                assert_same(ops.hamming_range(q, d, radius, *selection), right)
                assert_same(ops.hamming_range(q, packed, radius, *selection), right)


def test_repeated_calls_give_the_same_bits(kernels):
    codes, packed_codes = arguments(few_levels(700, 8, 1), kernels.device, packed=True)
    queries, ids = few_levels(4, 8).to(kernels.device), shuffled_ids(700).to(kernels.device)
    allow = masks(700)["dense"].to(kernels.device)
    first, second = (kernels.ops.hamming_range(queries, codes, packed_codes, 4, ids, allow) for _ in range(2))
    assert_same(first, second)


def test_numpy_door_gives_the_same_bits(machine):
    queries, database = random_codes(9, 20)[:, 3:15], few_levels(150, 12)
    ids, allow = shuffled_ids(150), masks(150)["dense"]
    right = expected(queries, database, 50, ids, allow)
    selection = {"ids": ids.numpy(), "allow": allow.numpy()}
    assert_same(map(torch.from_numpy, _C.hamming_range(queries.numpy(), database.numpy(), 50, **selection)), right)
    words = ops.prepare_database(database).words.numpy()
    found = _C.hamming_range(queries.numpy(), words, 50, packed_codes=150, **selection)
    assert_same(map(torch.from_numpy, found), right)


def test_a_sparse_matrix_of_the_result():
    """The docstring's example: distance 0 is an explicit entry."""
    database = random_codes(60, 2)
    queries = database[:5].clone()
    found = fasthash.hamming_range(queries, database, radius=6)
    parts = (found.distances.numpy(), found.ids.numpy(), found.offsets.numpy())
    matrix = scipy.sparse.csr_array(parts, shape=(len(queries), len(database)))
    distances = naive_distances(queries, database)
    assert matrix.nnz == (distances <= 6).sum()
    assert np.array_equal(matrix.toarray(), np.where(distances <= 6, distances, 0))
    matrix.eliminate_zeros()
    assert matrix.nnz == ((distances <= 6) & (distances > 0)).sum() < (distances <= 6).sum()


@PACKED
@pytest.mark.parametrize("selected", [False, True], ids=["all", "selected"])
def test_opcheck(device, packed, selected):
    codes, packed_codes = arguments(random_codes(9, 6), device, packed)
    selection = (shuffled_ids(9).to(device), masks(9)["dense"].to(device)) if selected else (None, None)
    inputs = (random_codes(4, 6).to(device), codes, packed_codes, 20, *selection)
    torch.library.opcheck(torch.ops.fasthash.hamming_range.default, inputs)


def test_compiles_as_one_graph(device):
    """The number of results is known only when the graph runs."""
    torch._dynamo.reset()

    def search(queries, database, ids, allow):
        found = ops.hamming_range(queries, database, 20, ids, allow)
        return found.offsets + 1, found.distances * 2, found.ids - 1

    compiled = torch.compile(search, fullgraph=True, dynamic=True, backend="aot_eager")
    for count in (12, 27, 130):
        queries, rows = random_codes(4, 6).to(device), random_codes(count, 6).to(device)
        ids, allow = shuffled_ids(count).to(device), masks(count)["dense"].to(device)
        for database in (rows, ops.prepare_database(rows)):
            assert_same(compiled(queries, database, ids, allow), search(queries, rows, ids, allow))


@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
def test_bad_input_is_named(module):
    queries, database = random_codes(2, 2), random_codes(3, 2)
    with pytest.raises(ValueError, match=r"^hamming_range: radius must be >= 0, got -1$"):
        module.hamming_range(queries, database, -1)
    with pytest.raises(ValueError, match=r"^hamming_range: queries must be a tensor of dtype uint8, got float32$"):
        module.hamming_range(queries.float(), database, 1)
    with pytest.raises(ValueError, match=r"^hamming_range: database must be of shape \(rows, 2\) like queries"):
        module.hamming_range(queries, random_codes(3, 3), 1)


CALLS = {
    "torch": "ops.hamming_range(torch.from_numpy(queries), torch.from_numpy(database), 10)",
    "numpy": "_C.hamming_range(queries, database, 10)",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ctrl_c_ends_a_long_search(call):
    assert_ctrl_c_ends(call)
