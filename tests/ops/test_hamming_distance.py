# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from tests.cases import packed_layouts, random_codes
from tests.hamming import arguments, naive_distances

# Widths around words of 4 and 8 bytes, around the sums of bytes of the table variants (31 words), and a wide one.
WIDTHS = [1, 2, 3, 4, 7, 8, 9, 16, 24, 32, 33, 64, 247, 248, 249, 520]
# Queries around the batches of the CPU and the tiles of CUDA; codes around 8, 64, 256 and a block of 4096.
SIZES = [(0, 0), (0, 5), (3, 0), (1, 1), (7, 63), (8, 64), (9, 65), (17, 255), (16, 256), (1, 257)]


PACKED = pytest.mark.parametrize("packed", [False, True], ids=["rows", "packed"])


def naive(queries, database):
    return torch.from_numpy(naive_distances(queries, database))


def check(kernels, queries, database, packed=False):
    codes, packed_codes = arguments(database, kernels.device, packed)
    distances = kernels.ops.hamming_distance(queries.to(kernels.device), codes, packed_codes)
    assert distances.dtype == torch.int32
    assert torch.equal(distances.cpu(), naive(queries, database))


@PACKED
@pytest.mark.parametrize("width", WIDTHS)
def test_any_width(kernels, width, packed):
    check(kernels, random_codes(3, width), random_codes(70, width), packed)


@PACKED
@pytest.mark.parametrize("width", [3, 8])
@pytest.mark.parametrize(("queries", "codes"), SIZES)
def test_any_number(kernels, queries, codes, width, packed):
    check(kernels, random_codes(queries, width), random_codes(codes, width), packed)


@pytest.mark.parametrize("width", WIDTHS)
def test_machines_count_alike(machine, width):
    for queries, codes in SIZES:
        q, d = random_codes(queries, width), random_codes(codes, width)
        expected = naive(q, d)
        assert torch.equal(ops.hamming_distance(q, d), expected)
        assert torch.equal(ops.hamming_distance(q, ops.prepare_database(d)), expected)


@pytest.mark.parametrize("width", [1, 4, 8, 12, 32])
def test_any_layout(kernels, width):
    for queries in packed_layouts(3, width).values():
        check(kernels, queries, random_codes(20, width))
    for database in packed_layouts(20, width).values():
        check(kernels, random_codes(3, width), database)


def test_extreme_codes(machine):
    zeros, ones = torch.zeros(70, 520, dtype=torch.uint8), torch.full((70, 520), 255, dtype=torch.uint8)
    for width in (1, 8, 16, 32, 40, 248, 520):
        assert (ops.hamming_distance(zeros[:, :width], ones[:, :width]) == 8 * width).all()
        assert (ops.hamming_distance(ones[:, :width], ones[:, :width]) == 0).all()


@settings(max_examples=60, deadline=None)
@given(queries=st.integers(0, 20), codes=st.integers(0, 200), width=st.integers(1, 80), seed=st.integers(0, 2**31))
def test_any_shape(queries, codes, width, seed):
    torch.manual_seed(seed)
    q, d = random_codes(queries, width), random_codes(codes, width)
    expected = naive(q, d)
    packed = ops.prepare_database(d)
    assert torch.equal(reference.hamming_distance(q, d), expected)
    assert torch.equal(reference.hamming_distance(q, packed), expected)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert torch.equal(ops.hamming_distance(q, d), expected)
        assert torch.equal(ops.hamming_distance(q, packed), expected)
    _C.force_machine("")


@pytest.mark.parametrize("width", [3, 8, 12, 32])
def test_threads_give_the_same_bits(threads, width):
    queries, database = random_codes(300, width), random_codes(9001, width)
    expected = reference.hamming_distance(queries, database)
    packed = ops.prepare_database(database)
    for count in (1, 2, 7):
        threads(count)
        assert torch.equal(ops.hamming_distance(queries, database), expected)
        assert torch.equal(ops.hamming_distance(queries, packed), expected)


def test_numpy_door_gives_the_same_bits(machine):
    queries, database = random_codes(9, 20)[:, 3:15], random_codes(150, 12)
    distances = _C.hamming_distance(queries.numpy(), database.numpy())
    assert distances.dtype == np.int32
    assert np.array_equal(distances, ops.hamming_distance(queries, database).numpy())
    words = ops.prepare_database(database).words.numpy()
    assert np.array_equal(distances, _C.hamming_distance(queries.numpy(), words, packed_codes=150))


@PACKED
def test_opcheck(device, packed):
    inputs = (random_codes(4, 6).to(device), *arguments(random_codes(9, 6), device, packed))
    torch.library.opcheck(torch.ops.fasthash.hamming_distance.default, inputs)


def test_compiles_as_one_graph(device):
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda q, d: ops.hamming_distance(q, d).sum(1), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for rows in (4, 9):
        queries, database = random_codes(rows, 6).to(device), random_codes(3 * rows, 6).to(device)
        expected = ops.hamming_distance(queries, database).sum(1)
        assert torch.equal(compiled(queries, database), expected)
        assert torch.equal(compiled(queries, ops.prepare_database(database)), expected)


BAD_PAIRS = [
    (torch.zeros(2, 2), random_codes(3, 2), "queries must be a tensor of dtype uint8, got float32"),
    (random_codes(2, 2), torch.zeros(3, 2).long(), "database must be a tensor of dtype uint8, got int64"),
    (random_codes(2, 2)[0], random_codes(3, 2), r"queries must be of shape \(rows, bytes > 0\), got \(2,\)"),
    (random_codes(2, 2), random_codes(3, 2)[None], r"database must be of shape \(rows, bytes > 0\), got \(1, 3, 2\)"),
    (random_codes(2, 0), random_codes(3, 0), r"queries must be of shape \(rows, bytes > 0\), got \(2, 0\)"),
    (random_codes(2, 2), random_codes(3, 3), r"database must be of shape \(rows, 2\) like queries, got \(3, 3\)"),
]


@pytest.mark.parametrize("distance", [ops.hamming_distance, reference.hamming_distance], ids=["ops", "reference"])
@pytest.mark.parametrize(("queries", "database", "message"), BAD_PAIRS)
def test_bad_input_is_named(distance, queries, database, message):
    with pytest.raises(ValueError, match="^hamming_distance: " + message):
        distance(queries, database)


def test_mixed_devices_are_refused():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with pytest.raises(ValueError, match="hamming_distance: database must be on cuda:0, got cpu"):
        ops.hamming_distance(random_codes(2, 2).cuda(), random_codes(2, 2))
