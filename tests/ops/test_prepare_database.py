# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash
from fasthash import ops, reference
from fasthash.types import PackedDatabase
from tests.cases import packed_layouts, random_codes

WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 32, 33, 100]
COUNTS = [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129]
PREPARE = pytest.mark.parametrize(
    "prepare", [ops.prepare_database, reference.prepare_database], ids=["ops", "reference"]
)


def by_the_layout(rows):
    """The bytes of the scan layout, put one after the other where csrc/kernels/hamming_scan/codes.h says."""
    count, width = rows.shape
    word = 4 if width <= 4 else 8
    words, lanes = -(-width // 8), 64 // word
    out = np.zeros(-(-count // 64) * 64 * words * word, np.uint8)
    for n in range(count):
        for i in range(width):
            out[(n // lanes * words + i // word) * 64 + n % lanes * word + i % word] = rows[n, i]
    return out


@PREPARE
@pytest.mark.parametrize("width", WIDTHS)
def test_every_byte_has_its_place(prepare, width):
    for count in COUNTS:
        rows = random_codes(count, width)
        database = prepare(rows)
        assert database.words.dtype == torch.int64
        assert database.words.is_contiguous()
        assert database.words.shape[1:] == (-(-width // 8), 8)
        assert np.array_equal(database.words.numpy().view(np.uint8).ravel(), by_the_layout(rows))


@given(count=st.integers(0, 300), width=st.integers(1, 70), seed=st.integers(0, 2**31))
def test_rows_come_back(count, width, seed):
    torch.manual_seed(seed)
    rows = random_codes(count, width)
    database = ops.prepare_database(rows)
    assert torch.equal(database.words, reference.prepare_database(rows).words)
    back = database.rows()
    assert torch.equal(back, rows)
    assert back.is_contiguous()


@PREPARE
@pytest.mark.parametrize("width", [1, 4, 8, 12, 32])
def test_any_layout(prepare, width):
    for rows in packed_layouts(70, width).values():
        assert torch.equal(prepare(rows).rows(), rows)


@PREPARE
@pytest.mark.parametrize(("count", "width"), [(64, 8), (128, 8), (5, 3), (1000, 32)])
def test_memory_is_its_own_and_aligned(prepare, count, width):
    rows = random_codes(count, width)
    database = prepare(rows)
    assert database.words.data_ptr() % 64 == 0
    before = database.words.clone()
    rows.fill_(0)
    database.rows().fill_(0)
    assert torch.equal(database.words, before)


def test_on_a_device(device):
    rows = random_codes(100, 5)
    database = ops.prepare_database(rows.to(device))
    assert database.device.type == device
    assert torch.equal(database.words.cpu(), ops.prepare_database(rows).words)
    assert torch.equal(database.rows().cpu(), rows)
    assert database.to(device) is database
    assert torch.equal(ops.prepare_database(rows).to(device).words, database.words)


def test_says_what_it_is():
    database = ops.prepare_database(random_codes(70, 5))
    assert (len(database), database.count, database.width, database.device) == (70, 70, 5, torch.device("cpu"))
    assert repr(database) == "PackedDatabase(count=70, width=5, device='cpu')"
    assert repr(database.to("meta")) == "PackedDatabase(count=70, width=5, device='meta')"
    assert fasthash.prepare_database is ops.prepare_database
    with pytest.raises(AttributeError):
        database.count = 3


def test_copies_and_pickles():
    database = ops.prepare_database(random_codes(70, 5))
    for other in (copy.deepcopy(database), pickle.loads(pickle.dumps(database))):
        assert torch.equal(other.words, database.words)
        assert (other.count, other.width) == (70, 5)


def test_compiles_as_one_graph(device):
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda rows: ops.prepare_database(rows).words + 0, fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for count in (3, 70, 129):
        rows = random_codes(count, 12).to(device)
        assert torch.equal(compiled(rows), ops.prepare_database(rows).words)


@PREPARE
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(2, 2), "rows must be a tensor of dtype uint8, got float32"),
        (random_codes(2, 2)[0], r"rows must be of shape \(rows, bytes > 0\), got \(2,\)"),
        (random_codes(2, 0), r"rows must be of shape \(rows, bytes > 0\), got \(2, 0\)"),
    ],
)
def test_bad_rows_are_named(prepare, rows, message):
    with pytest.raises(ValueError, match=f"^prepare_database: {message}$"):
        prepare(rows)


@pytest.mark.parametrize(
    ("words", "count", "width", "message"),
    [
        (torch.zeros(8, 1, 8), 3, 8, "words must be a tensor of dtype int64, got float32"),
        (torch.zeros(8, 1, 8).long(), 65, 8, r"words must be of shape \(16, 1, 8\), got \(8, 1, 8\)"),
        (torch.zeros(8, 1, 8).long(), 3, 4, r"words must be of shape \(4, 1, 8\), got \(8, 1, 8\)"),
        (torch.zeros(8, 1, 8).long(), -1, 8, "count must be >= 0, got -1"),
        (torch.zeros(8, 1, 8).long(), 1, 0, "width must be >= 1, got 0"),
    ],
)
def test_words_that_do_not_fit_are_refused(words, count, width, message):
    with pytest.raises(ValueError, match=f"^PackedDatabase: {message}$"):
        PackedDatabase(words, count, width)


# Every op that takes a database, and its raw operator.
CALLS = {
    "hamming_distance": (
        lambda ops, q, d: ops.hamming_distance(q, d),
        lambda q, d, n: torch.ops.fasthash.hamming_distance(q, d, n),
    ),
    "hamming_topk": (
        lambda ops, q, d: ops.hamming_topk(q, d, 1),
        lambda q, d, n: torch.ops.fasthash.hamming_topk(q, d, n, 1, None, None),
    ),
    "hamming_range": (
        lambda ops, q, d: ops.hamming_range(q, d, 1),
        lambda q, d, n: torch.ops.fasthash.hamming_range(q, d, n, 1, None, None),
    ),
    "hamming_histogram": (
        lambda ops, q, d: ops.hamming_histogram(q, d),
        lambda q, d, n: torch.ops.fasthash.hamming_histogram(q, d, n, None, None),
    ),
}
EACH_OP = pytest.mark.parametrize("op", CALLS)


@EACH_OP
@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
def test_queries_of_another_width_are_refused(op, module):
    database = ops.prepare_database(random_codes(3, 6))
    with pytest.raises(ValueError, match=f"^{op}: database must be of width 5 like queries, got 6$"):
        CALLS[op][0](module, random_codes(2, 5), database)
    with pytest.raises(ValueError, match=rf"^{op}: queries must be of shape \(rows, bytes > 0\), got \(6,\)$"):
        CALLS[op][0](module, random_codes(2, 6)[0], database)


def misaligned(words):
    """The same words at an address that is 8 mod 64."""
    room = torch.zeros(words.numel() + 8, dtype=torch.int64)
    assert room.data_ptr() % 64 == 0
    place = room[1 : 1 + words.numel()].view(words.shape)
    place.copy_(words)
    return place


WORDS = ops.prepare_database(random_codes(70, 9)).words  # (16, 2, 8)
BAD_WORDS = [
    (WORDS, -2, r"packed_codes must be -1 \(rows\) or a number of codes up to 2\^40, got -2"),
    (WORDS, 2**40 + 1, rf"packed_codes must be -1 \(rows\) or a number of codes up to 2\^40, got {2**40 + 1}"),
    (WORDS.double(), 70, "database must be a tensor of dtype int64 where it is packed, got float64"),
    (WORDS[:15], 70, r"database must be of shape \(16, 2, 8\) for packed_codes 70 of width 9, got \(15, 2, 8\)"),
    (WORDS, 64, r"database must be of shape \(8, 2, 8\) for packed_codes 64 of width 9, got \(16, 2, 8\)"),
    (WORDS[:, :1], 70, r"database must be of shape \(16, 2, 8\) for packed_codes 70 of width 9, got \(16, 1, 8\)"),
    (WORDS.flatten(), 70, r"database must be of shape \(16, 2, 8\) for packed_codes 70 of width 9, got \(256,\)"),
    (
        WORDS.repeat(1, 2, 1)[:, ::2],
        70,
        r"database must be contiguous where it is packed, got strides \(32, 16, 1\)",
    ),
    (misaligned(WORDS), 70, "database must be 64-byte aligned where it is packed, got an address of 8 mod 64"),
]


@EACH_OP
@pytest.mark.parametrize(("words", "count", "message"), BAD_WORDS)
def test_bad_words_are_named(op, words, count, message):
    with pytest.raises(ValueError, match=f"^{op}: {message}$"):
        CALLS[op][1](random_codes(2, 9), words, count)


@EACH_OP
def test_mixed_devices_are_refused(op):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with pytest.raises(ValueError, match=f"{op}: database must be on cuda:0, got cpu"):
        CALLS[op][0](ops, random_codes(2, 9).cuda(), ops.prepare_database(random_codes(70, 9)))
