# SPDX-License-Identifier: Apache-2.0
"""hamming_topk with ids of its own, a mask of the codes that may be found, and a packed database."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from tests.cases import packed_layouts, random_codes
from tests.hamming import (
    arguments,
    assert_same,
    few_levels,
    masks,
    naive_distances,
    ranked,
    shuffled_ids,
    topk_tensors,
)

WIDTHS = [1, 3, 4, 5, 7, 8, 9, 12, 16, 24, 32, 40, 264]
SIZES = [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 129, 257, 700]
PACKED = pytest.mark.parametrize("packed", [False, True], ids=["rows", "packed"])


def expected(queries, database, k, ids=None, allow=None):
    return topk_tensors(ranked(queries, database, ids, allow), k)


def check(kernels, queries, database, k, *, packed=False, ids=None, allow=None):
    codes, packed_codes = arguments(database, kernels.device, packed)
    ids_there, allow_there = (x if x is None else x.to(kernels.device) for x in (ids, allow))
    found = kernels.ops.hamming_topk(queries.to(kernels.device), codes, packed_codes, k, ids_there, allow_there)
    assert_same(found, expected(queries, database, k, ids, allow))


@pytest.mark.parametrize("width", WIDTHS)
def test_packed_any_width(kernels, width):
    for k in (1, 9, 130):
        check(kernels, random_codes(3, width), random_codes(130, width), k, packed=True)


@pytest.mark.parametrize("width", [3, 8, 12])
@pytest.mark.parametrize("codes", SIZES)
def test_packed_any_number_of_codes(kernels, codes, width):
    """What fills the last tile is zeros, and so is the query: it must not be found."""
    queries = torch.cat([torch.zeros(1, width, dtype=torch.uint8), random_codes(2, width)])
    for k in {1, (codes + 1) // 2, codes}:
        check(kernels, queries, random_codes(codes, width), k, packed=True)


def test_packed_any_layout_of_queries(kernels):
    for queries in packed_layouts(3, 12).values():
        check(kernels, queries, random_codes(100, 12), 7, packed=True)


@PACKED
@pytest.mark.parametrize("width", [4, 8, 32])
def test_ids_are_returned_and_order_ties(kernels, packed, width):
    for database in (random_codes(200, width), few_levels(200, width, 1)):
        for k in (1, 60, 200):
            check(kernels, few_levels(3, width), database, k, packed=packed, ids=shuffled_ids(200))


def test_equal_codes_come_by_id(kernels):
    database = torch.full((300, 8), 0x5A, dtype=torch.uint8)
    for ids in (torch.arange(300).flip(0), -torch.arange(300), shuffled_ids(300)):
        check(kernels, torch.cat([database[:1], ~database[:1]]), database, 100, ids=ids)


def test_least_and_greatest_ids(kernels):
    low, high = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    ids = torch.tensor([high, low, 0, -1, high - 1, low + 1])
    database = torch.zeros(6, 8, dtype=torch.uint8)
    check(kernels, database[:1], database, 6, ids=ids)


def test_strided_ids_and_mask(kernels):
    ids = torch.stack([shuffled_ids(50), torch.zeros(50, dtype=torch.int64)], 1)[:, 0]
    allow = masks(50)["dense"].repeat_interleave(2)[::2]
    assert not ids.is_contiguous()
    assert not allow.is_contiguous()
    check(kernels, few_levels(3, 8), few_levels(50, 8, 1), 20, ids=ids, allow=allow)


def test_candidates_by_id_are_dropped_many_times(machine):
    """Every code is nearer than most before it, and ids fall as positions rise."""
    database = ops.pack_codes(torch.arange(64).flip(0)[:, None] > torch.arange(64)).repeat_interleave(200, 0)
    query, ids = torch.zeros(1, 8, dtype=torch.uint8), torch.arange(len(database)).flip(0)
    for k in (1, 3, 199, 201, 1000):
        assert_same(ops.hamming_topk(query, database, k, ids), expected(query, database, k, ids))


def test_equal_ids_are_safe(kernels):
    """Each of the codes that share an id is returned with it, in some order among equal distances."""
    queries, database = few_levels(2, 8), few_levels(150, 8, 1)
    for ids in (torch.zeros(150, dtype=torch.int64), torch.arange(150) // 7 - 5):
        there = Counter()
        for row in naive_distances(queries, database).tolist():
            there.update(zip(row, ids.tolist(), strict=True))
        for k in (1, 40, 150):
            codes = database.to(kernels.device)
            found = kernels.ops.hamming_topk(queries.to(kernels.device), codes, -1, k, ids.to(kernels.device), None)
            assert torch.equal(found[0].cpu(), expected(queries, database, k)[0])
            pairs = zip(found[0].flatten().tolist(), found[1].flatten().tolist(), strict=True)
            assert Counter(pairs) <= there


@PACKED
@pytest.mark.parametrize("with_ids", [False, True], ids=["positions", "ids"])
def test_masks(kernels, packed, with_ids):
    for codes in (1, 7, 65, 300):
        ids = shuffled_ids(codes) if with_ids else None
        for allow in masks(codes).values():
            for k in {1, min(10, codes), codes}:
                queries, database = few_levels(2, 8), few_levels(codes, 8, 1)
                check(kernels, queries, database, k, packed=packed, ids=ids, allow=allow)


def test_a_mask_of_the_farthest_codes_finds_k_of_them(kernels):
    """The mask acts inside the search: nearer codes that it shuts out take no place."""
    database = torch.cat([torch.zeros(500, 8, dtype=torch.uint8), torch.full((20, 8), 255, dtype=torch.uint8)])
    allow = torch.from_numpy(np.packbits(np.arange(520) >= 500))
    check(kernels, torch.zeros(2, 8, dtype=torch.uint8), database, 10, allow=allow)


@pytest.mark.parametrize("width", WIDTHS)
def test_machines_find_the_same(machine, width):
    for codes in (1, 63, 65, 700):
        queries, ids = few_levels(3, width), shuffled_ids(codes)
        for database in (random_codes(codes, width), few_levels(codes, width, 1)):
            packed, allow = ops.prepare_database(database), masks(codes)["dense"]
            for k in sorted({1, min(10, codes), codes}):
                plain = expected(queries, database, k)
                assert_same(ops.hamming_topk(queries, packed, k), plain)
                both = expected(queries, database, k, ids, allow)
                assert_same(ops.hamming_topk(queries, packed, k, ids, allow), both)
                assert_same(ops.hamming_topk(queries, database, k, ids, allow), both)


@pytest.mark.parametrize("width", [3, 4, 8, 12, 32])
@pytest.mark.parametrize("density", [None, 0.9, 0.02, 0.002])
def test_many_queries_and_codes(density, width):
    """Enough of both for every way to search; the smallest mask leaves fewer than k codes."""
    database = torch.cat([random_codes(20_000, width), few_levels(13_001, width)])
    queries = torch.cat([random_codes(40, width), database[::700], few_levels(9, width, 1)])
    ids = shuffled_ids(len(database))
    allow = None
    if density is not None:
        allow = torch.from_numpy(np.packbits((torch.rand(len(database)) < density).numpy()))
    packed = ops.prepare_database(database)
    for own_ids in (None, ids):
        right = reference.hamming_topk(queries, database, 300, own_ids, allow)
        for machine in _C.machines_available():
            _C.force_machine(machine)
            assert_same(ops.hamming_topk(queries, database, 300, own_ids, allow), right)
            assert_same(ops.hamming_topk(queries, packed, 300, own_ids, allow), right)
            assert_same(ops.hamming_topk(queries[:2], packed, 300, own_ids, allow), [part[:2] for part in right])
    _C.force_machine("")


@settings(max_examples=80, deadline=None)
@given(
    queries=st.integers(0, 12),
    codes=st.integers(1, 400),
    width=st.integers(1, 40),
    levels=st.sampled_from([1, 2, 256]),
    density=st.sampled_from([None, 0.0, 0.03, 0.5, 1.0]),
    own_ids=st.booleans(),
    data=st.data(),
)
def test_any_shape(queries, codes, width, levels, density, own_ids, data):
    k = data.draw(st.integers(1, codes))
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    q, d = (torch.randint(0, levels, (rows, width), dtype=torch.uint8) for rows in (queries, codes))
    ids = torch.randperm(2 * codes)[:codes] - codes if own_ids else None
    allow = None if density is None else torch.from_numpy(np.packbits((torch.rand(codes) < density).numpy()))
    right = expected(q, d, k, ids, allow)
    packed = ops.prepare_database(d)
    assert_same(reference.hamming_topk(q, d, k, ids, allow), right)
    assert_same(reference.hamming_topk(q, packed, k, ids, allow), right)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert_same(ops.hamming_topk(q, d, k, ids, allow), right)
        assert_same(ops.hamming_topk(q, packed, k, ids, allow), right)
    _C.force_machine("")


@pytest.mark.parametrize(("queries", "codes", "width"), [(1, 20_011, 8), (3, 9001, 12), (150, 601, 3), (130, 301, 32)])
def test_threads_give_the_same_bits(threads, queries, codes, width):
    q, d, ids = random_codes(queries, width), random_codes(codes, width), shuffled_ids(codes)
    packed, allow = ops.prepare_database(d), masks(codes)["sparse" if codes > 5000 else "dense"]
    for k in (1, 50, codes):
        for own_ids in (None, ids):
            for mask in (None, allow):
                right = expected(q, d, k, own_ids, mask)
                for count in (1, 2, 7):
                    threads(count)
                    assert_same(ops.hamming_topk(q, packed, k, own_ids, mask), right)
                    assert_same(ops.hamming_topk(q, d, k, own_ids, mask), right)


def test_repeated_calls_give_the_same_bits(kernels):
    codes, packed_codes = arguments(few_levels(700, 8, 1), kernels.device, packed=True)
    queries, ids = few_levels(4, 8).to(kernels.device), shuffled_ids(700).to(kernels.device)
    allow = masks(700)["dense"].to(kernels.device)
    first, second = (kernels.ops.hamming_topk(queries, codes, packed_codes, 300, ids, allow) for _ in range(2))
    assert_same(first, second)


def test_numpy_door_gives_the_same_bits(machine):
    queries, database = random_codes(9, 20)[:, 3:15], few_levels(150, 12)
    packed, ids, allow = ops.prepare_database(database), shuffled_ids(150), masks(150)["dense"]
    right = expected(queries, database, 140, ids, allow)
    codes = packed.words.numpy()
    found = _C.hamming_topk(queries.numpy(), codes, 140, ids.numpy(), allow.numpy(), packed_codes=150)
    assert_same(map(torch.from_numpy, found), right)
    found = _C.hamming_topk(queries.numpy(), database.numpy(), k=140, ids=ids.numpy(), allow=allow.numpy())
    assert_same(map(torch.from_numpy, found), right)


@PACKED
@pytest.mark.parametrize("selected", [False, True], ids=["all", "selected"])
def test_opcheck(device, packed, selected):
    codes, packed_codes = arguments(random_codes(9, 6), device, packed)
    selection = (shuffled_ids(9).to(device), masks(9)["dense"].to(device)) if selected else (None, None)
    inputs = (random_codes(4, 6).to(device), codes, packed_codes, 3, *selection)
    torch.library.opcheck(torch.ops.fasthash.hamming_topk.default, inputs)


def test_compiles_as_one_graph(device):
    torch._dynamo.reset()

    def search(queries, database, ids, allow):
        return ops.hamming_topk(queries, database, 3, ids, allow)

    compiled = torch.compile(search, fullgraph=True, dynamic=True, backend="aot_eager")
    for count in (12, 27, 130):
        queries, rows = random_codes(4, 6).to(device), random_codes(count, 6).to(device)
        ids, allow = shuffled_ids(count).to(device), masks(count)["dense"].to(device)
        for database in (rows, ops.prepare_database(rows)):
            assert_same(compiled(queries, database, ids, allow), search(queries, rows, ids, allow))


CODES = random_codes(9, 2)
BAD_SELECTIONS = [
    ({"ids": torch.arange(9).int()}, "ids must be a tensor of dtype int64, got int32"),
    ({"ids": torch.arange(8)}, r"ids must be of shape \(9,\), one for each code, got \(8,\)"),
    ({"ids": torch.arange(9)[None]}, r"ids must be of shape \(9,\), one for each code, got \(1, 9\)"),
    ({"allow": torch.ones(9, dtype=torch.bool)}, "allow must be a tensor of dtype uint8, got bool"),
    ({"allow": CODES[0, :1]}, r"allow must be of shape \(2,\), one bit for each code, got \(1,\)"),
    ({"allow": CODES[:, 0]}, r"allow must be of shape \(2,\), one bit for each code, got \(9,\)"),
]


@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("op", ["hamming_topk", "hamming_range"])
@pytest.mark.parametrize(("selection", "message"), BAD_SELECTIONS)
def test_bad_selections_are_named(module, op, selection, message):
    for database in (CODES, ops.prepare_database(CODES)):
        with pytest.raises(ValueError, match=f"^{op}: {message}$"):
            getattr(module, op)(random_codes(2, 2), database, 1, **selection)


def test_a_selection_on_another_device_is_refused():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    queries, database = random_codes(2, 2).cuda(), CODES.cuda()
    with pytest.raises(ValueError, match=r"^hamming_topk: ids must be on cuda:0, got cpu$"):
        ops.hamming_topk(queries, database, 1, ids=torch.arange(9))
    with pytest.raises(ValueError, match=r"^hamming_topk: allow must be on cuda:0, got cpu$"):
        ops.hamming_topk(queries, database, 1, allow=CODES[0])


def test_k_counts_all_codes():
    """k is held against the database, not against what the mask leaves."""
    with pytest.raises(ValueError, match=r"^hamming_topk: k must be in 1\.\.9 \(the database\), got 10$"):
        ops.hamming_topk(random_codes(2, 2), ops.prepare_database(CODES), 10, allow=masks(9)["none"])
