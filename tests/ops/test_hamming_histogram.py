# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from tests.cases import packed_layouts, random_codes
from tests.hamming import arguments, assert_ctrl_c_ends, assert_same, few_levels, naive_distances

WIDTHS = [1, 3, 4, 5, 7, 8, 9, 12, 16, 24, 32, 40, 264]
SIZES = [(0, 0), (0, 5), (3, 0), (1, 1), (7, 63), (8, 64), (33, 65), (65, 9), (130, 40), (3, 700)]
LABELS = ["none", "ids", "bits"]
PACKED = pytest.mark.parametrize("packed", [False, True], ids=["rows", "packed"])


def labels_of(kind, rows, seed=0):
    """Class ids that repeat, or packed rows of which some share a bit and some are empty."""
    rng = np.random.default_rng(seed)
    if kind == "none":
        return None
    if kind == "ids":
        return torch.from_numpy(rng.choice([-5, 0, 7, 2**40], rows))
    return torch.from_numpy(np.packbits(rng.random((rows, 21)) < 0.08, axis=1))


def related(query_labels, database_labels):
    """(Q, N) bool."""
    if query_labels.dim() == 1:
        return query_labels.numpy()[:, None] == database_labels.numpy()
    return (query_labels.numpy()[:, None] & database_labels.numpy()).any(-1)


def expected(queries, database, query_labels=None, database_labels=None):
    distances = naive_distances(queries, database)
    bins = 8 * queries.shape[1] + 1
    rows = [np.bincount(row, minlength=bins) for row in distances]
    total = torch.tensor(np.array(rows, dtype=np.int64).reshape(-1, bins))
    if query_labels is None:
        return total, torch.zeros(0, dtype=torch.int64)
    relevance = related(query_labels, database_labels)
    rows = [np.bincount(row[keep], minlength=bins) for row, keep in zip(distances, relevance, strict=True)]
    return total, torch.tensor(np.array(rows, dtype=np.int64).reshape(-1, bins))


def check(kernels, queries, database, *labels, packed=False):
    codes, packed_codes = arguments(database, kernels.device, packed)
    there = [None, None] if labels in ((), (None, None)) else [x.to(kernels.device) for x in labels]
    found = kernels.ops.hamming_histogram(queries.to(kernels.device), codes, packed_codes, *there)
    assert_same(found, expected(queries, database, *labels))


@PACKED
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("width", WIDTHS)
def test_any_width(kernels, width, kind, packed):
    labels = labels_of(kind, 3), labels_of(kind, 80, 1)
    check(kernels, random_codes(3, width), random_codes(80, width), *labels, packed=packed)


@PACKED
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize(("queries", "codes"), SIZES)
def test_any_number(kernels, queries, codes, kind, packed):
    """What fills the last tile of a packed database is zeros, and so is the first query: it must not be counted."""
    asked = random_codes(queries, 8)
    asked[:1] = 0
    labels = labels_of(kind, queries), labels_of(kind, codes, 1)
    check(kernels, asked, random_codes(codes, 8), *labels, packed=packed)


@pytest.mark.parametrize("width", [1, 4, 8, 12, 32])
def test_any_layout(kernels, width):
    labels = labels_of("ids", 3), labels_of("ids", 40, 1)
    for queries in packed_layouts(3, width).values():
        check(kernels, queries, random_codes(40, width), *labels)
    for database in packed_layouts(40, width).values():
        check(kernels, random_codes(3, width), database, *labels)


@pytest.mark.parametrize("width", [1, 2])
def test_any_layout_of_labels(kernels, width):
    queries, database = random_codes(3, 8), random_codes(40, 8)
    for name, query_labels in packed_layouts(3, width).items():
        check(kernels, queries, database, query_labels, packed_layouts(40, width)[name])
    ids = torch.stack([labels_of("ids", 40), torch.zeros(40, dtype=torch.int64)], 1)[:, 0]
    assert not ids.is_contiguous()
    check(kernels, queries, database, ids[:3], ids)
    check(kernels, queries, database, torch.tensor([7]).expand(3), torch.tensor([7]).expand(40))


def test_equal_codes_are_counted_at_one_distance(kernels):
    database = torch.full((3000, 8), 0x5A, dtype=torch.uint8)
    ids = torch.arange(3000) % 3
    check(kernels, torch.cat([database[:1], ~database[:1]]), database, ids[:2], ids)


def test_extreme_ids(kernels):
    low, high = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    ids = torch.tensor([low, high, 0, -1, high, low, 2**32, -(2**32)])
    check(kernels, random_codes(8, 3), random_codes(8, 3), ids, ids.flip(0))


def test_labels_without_a_bit(kernels):
    nothing = torch.zeros(20, 0, dtype=torch.uint8)
    check(kernels, random_codes(2, 8), random_codes(20, 8), nothing[:2], nothing)


@pytest.mark.parametrize("width", WIDTHS)
def test_machines_count_alike(machine, width):
    for codes in (1, 63, 65, 700):
        for kind in LABELS:
            labels = labels_of(kind, 5), labels_of(kind, codes, 1)
            queries, database = random_codes(5, width), few_levels(codes, width, 1)
            right = expected(queries, database, *labels)
            assert_same(ops.hamming_histogram(queries, database, *labels), right)
            assert_same(ops.hamming_histogram(queries, ops.prepare_database(database), *labels), right)


@settings(max_examples=80, deadline=None)
@given(
    queries=st.integers(0, 12),
    codes=st.integers(0, 400),
    width=st.integers(1, 40),
    levels=st.sampled_from([1, 2, 256]),
    kind=st.sampled_from(LABELS),
    seed=st.integers(0, 2**31),
)
def test_any_shape(queries, codes, width, levels, kind, seed):
    torch.manual_seed(seed)
    q, d = (torch.randint(0, levels, (rows, width), dtype=torch.uint8) for rows in (queries, codes))
    labels = labels_of(kind, queries, seed), labels_of(kind, codes, seed + 1)
    right = expected(q, d, *labels)
    packed = ops.prepare_database(d)
    assert_same(reference.hamming_histogram(q, d, *labels), right)
    assert_same(reference.hamming_histogram(q, packed, *labels), right)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert_same(ops.hamming_histogram(q, d, *labels), right)
        assert_same(ops.hamming_histogram(q, packed, *labels), right)
    _C.force_machine("")


@pytest.mark.parametrize(("queries", "codes", "width"), [(1, 20_011, 8), (3, 9001, 12), (200, 601, 3), (150, 301, 32)])
def test_threads_give_the_same_bits(threads, queries, codes, width):
    q, d = random_codes(queries, width), random_codes(codes, width)
    packed = ops.prepare_database(d)
    for kind in LABELS:
        labels = labels_of(kind, queries), labels_of(kind, codes, 1)
        right = expected(q, d, *labels)
        for count in (1, 2, 7):
            threads(count)
            assert_same(ops.hamming_histogram(q, d, *labels), right)
            assert_same(ops.hamming_histogram(q, packed, *labels), right)


def test_repeated_calls_give_the_same_bits(kernels):
    codes, packed_codes = arguments(few_levels(700, 8, 1), kernels.device, packed=True)
    labels = [labels_of("bits", rows, seed).to(kernels.device) for rows, seed in ((4, 0), (700, 1))]
    queries = few_levels(4, 8).to(kernels.device)
    first, second = (kernels.ops.hamming_histogram(queries, codes, packed_codes, *labels) for _ in range(2))
    assert_same(first, second)


@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_ids_of_any_integer_dtype(module, dtype):
    queries, database = random_codes(4, 3), random_codes(50, 3)
    labels = torch.randint(0, 5, (4,)), torch.randint(0, 5, (50,))
    right = expected(queries, database, *labels)
    assert_same(module.hamming_histogram(queries, database, labels[0].to(dtype), labels[1]), right)
    assert_same(module.hamming_histogram(queries, database, labels[0], labels[1].to(dtype)), right)


@pytest.mark.parametrize("kind", LABELS)
def test_numpy_door_gives_the_same_bits(machine, kind):
    queries, database = random_codes(9, 20)[:, 3:15], random_codes(150, 12)
    labels = labels_of(kind, 9), labels_of(kind, 150, 1)
    right = expected(queries, database, *labels)
    arrays = [None if x is None else x.numpy() for x in labels]
    found = _C.hamming_histogram(queries.numpy(), database.numpy(), *arrays)
    assert_same(map(torch.from_numpy, found), right)
    words = ops.prepare_database(database).words.numpy()
    found = _C.hamming_histogram(queries.numpy(), words, *arrays, packed_codes=150)
    assert_same(map(torch.from_numpy, found), right)


@PACKED
@pytest.mark.parametrize("kind", LABELS)
def test_opcheck(device, packed, kind):
    codes, packed_codes = arguments(random_codes(9, 6), device, packed)
    labels = [x if x is None else x.to(device) for x in (labels_of(kind, 4), labels_of(kind, 9, 1))]
    inputs = (random_codes(4, 6).to(device), codes, packed_codes, *labels)
    torch.library.opcheck(torch.ops.fasthash.hamming_histogram.default, inputs)


@pytest.mark.parametrize("kind", LABELS)
def test_compiles_as_one_graph(device, kind):
    torch._dynamo.reset()

    def count(queries, database, *labels):
        found = ops.hamming_histogram(queries, database, *labels)
        return found.total.cumsum(1), found.relevant * 2

    compiled = torch.compile(count, fullgraph=True, dynamic=True, backend="aot_eager")
    for codes in (12, 27, 130):
        queries, rows = random_codes(4, 6).to(device), random_codes(codes, 6).to(device)
        labels = [x if x is None else x.to(device) for x in (labels_of(kind, 4), labels_of(kind, codes, 1))]
        for database in (rows, ops.prepare_database(rows)):
            assert_same(compiled(queries, database, *labels), count(queries, rows, *labels))


IDS, BITS = torch.arange(9), random_codes(9, 2)
BAD_LABELS = [
    (IDS[:4], None, "database_labels must be given like query_labels, got None"),
    (None, IDS, "query_labels must be given like database_labels, got None"),
    (
        IDS[0],
        IDS,
        r"query_labels must be 1-D class ids or 2-D packed multi-hot rows, got \(\)",
    ),
    (BITS[:4], BITS[None], r"database_labels must be 1-D class ids or 2-D packed multi-hot rows, got \(1, 9, 2\)"),
    (IDS[:4].float(), IDS, "query_labels must be a tensor of dtype int64 where 1-D, got float32"),
    (IDS[:4], IDS.bool(), "database_labels must be a tensor of dtype int64 where 1-D, got bool"),
    (BITS[:4].bool(), BITS, r"query_labels must be a tensor of dtype uint8 \(packed bits\) where 2-D, got bool"),
    (BITS[:4], BITS.long(), r"database_labels must be a tensor of dtype uint8 \(packed bits\) where 2-D, got int64"),
    (IDS, IDS, "query_labels must be of length 4, one for each code, got 9"),
    (BITS[:4], BITS[:8], "database_labels must be of length 9, one for each code, got 8"),
    (IDS[:4], BITS, r"database_labels must be 1-D class ids like query_labels, got \(9, 2\)"),
    (BITS[:4], IDS, r"database_labels must be rows of 2 bytes like query_labels, got \(9,\)"),
    (BITS[:4], BITS[:, :1], r"database_labels must be rows of 2 bytes like query_labels, got \(9, 1\)"),
]


@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize(("query_labels", "database_labels", "message"), BAD_LABELS)
def test_bad_labels_are_named(module, query_labels, database_labels, message):
    queries, database = random_codes(4, 3), random_codes(9, 3)
    for form in (database, ops.prepare_database(database)):
        with pytest.raises(ValueError, match=f"^hamming_histogram: {message}$"):
            module.hamming_histogram(queries, form, query_labels, database_labels)


def test_labels_on_another_device_are_refused():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    queries, database = random_codes(4, 3).cuda(), random_codes(9, 3).cuda()
    with pytest.raises(ValueError, match=r"^hamming_histogram: query_labels must be on cuda:0, got cpu$"):
        ops.hamming_histogram(queries, database, IDS[:4], IDS.cuda())
    with pytest.raises(ValueError, match=r"^hamming_histogram: database_labels must be on cuda:0, got cpu$"):
        ops.hamming_histogram(queries, database, IDS[:4].cuda(), IDS)


CALLS = {
    "torch": "ops.hamming_histogram(torch.from_numpy(queries), torch.from_numpy(database))",
    "numpy": "_C.hamming_histogram(queries, database)",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ctrl_c_ends_a_long_count(call):
    assert_ctrl_c_ends(call)
