# SPDX-License-Identifier: Apache-2.0
import copy
from unittest import mock

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash.index import HammingIndex, layout, pieces

from .cases import INT32_MAX, as_pairs, filled, naive_range, naive_search, packed


class Naive:
    """An index as a dictionary."""

    def __init__(self, bits):
        self.rows, self.bits = {}, bits

    def parts(self):
        ids = torch.tensor(sorted(self.rows), dtype=torch.int64)
        width = (self.bits + 7) // 8
        codes = [self.rows[i] for i in ids.tolist()]
        return torch.stack(codes) if codes else torch.zeros(0, width, dtype=torch.uint8), ids


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 70)),
        st.tuples(st.just("add with ids"), st.lists(st.integers(0, 400), max_size=40, unique=True)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 400), max_size=40)),
        st.tuples(st.just("remove"), st.just("all")),
    ),
    max_size=6,
)


@given(
    changes=CHANGES,
    bits=st.sampled_from([3, 12, 32, 40, 64, 70]),
    storage=st.sampled_from(["device", "host"]),
    k=st.integers(1, 100),
    allowed=st.one_of(st.none(), st.lists(st.integers(0, 500), max_size=200)),
    as_mask=st.booleans(),
)
def test_any_changes_leave_what_a_dictionary_holds(changes, bits, storage, k, allowed, as_mask):
    index, naive, next_id = HammingIndex(bits, storage=storage), Naive(bits), 0
    for step, (verb, values) in enumerate(changes):
        if verb == "remove":
            known = [i for i in naive.rows if values == "all" or i in values]
            assert index.remove(torch.tensor(known, dtype=torch.int64)) == len(known)
            naive.rows = {i: row for i, row in naive.rows.items() if i not in known}
            continue
        new = None if verb == "add" else [i for i in values if i not in naive.rows]
        codes = packed(values if new is None else len(new), bits, step)
        given_ids = None if new is None else torch.tensor(new, dtype=torch.int64)
        new = list(range(next_id, next_id + values)) if new is None else new
        assert index.add(codes, given_ids).tolist() == new
        next_id = max([next_id, *(i + 1 for i in new)])
        naive.rows.update(zip(new, codes, strict=True))
    codes, ids = naive.parts()
    assert torch.equal(index.ids, ids)
    assert torch.equal(index.codes, codes)
    assert torch.equal(index.get(ids.flip(0)), codes.flip(0))
    assert all((i in index) == (i in naive.rows) for i in range(-1, 402))
    allow = None if allowed is None else torch.tensor(allowed, dtype=torch.int64)
    if allow is not None and as_mask:
        allow = torch.isin(ids, allow)
    queries, kept = packed(3, bits, 99), None if allowed is None else set(allowed)
    with mock.patch.object(pieces, "PIECE_BYTES", 1024):
        assert as_pairs(index.search(queries, k, allow)) == naive_search(codes, ids, queries, k, kept)
        assert as_pairs(index.range_search(queries, bits // 3, allow)) == (
            naive_range(codes, ids, queries, bits // 3, kept)
        )


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


def test_a_range_of_everything_and_of_nothing():
    index, queries = filled(12, 20, 3), packed(2, 12, 1)
    assert as_pairs(index.range_search(queries, 10**9)) == naive_range(index.codes, index.ids, queries, 12)
    nothing = index.range_search(queries, 12, torch.empty(0, dtype=torch.int64))
    assert nothing.offsets.tolist() == [0, 0, 0]
    assert nothing.ids.dtype == torch.int64
    assert HammingIndex(12).range_search(queries, 12).offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("rows", [40, 400])
def test_few_allowed_codes_and_many(rows):
    """Few are taken out and searched alone, many are masked."""
    index, queries = filled(24, rows, 2), packed(3, 24, 1)
    for count in (0, 1, rows // 64, rows // 64 + 1, rows):
        allowed = index.ids[torch.randperm(rows)[:count]]
        expected = naive_search(index.codes, index.ids, queries, 5, set(allowed.tolist()))
        assert as_pairs(index.search(queries, 5, allowed)) == expected
        assert as_pairs(index.search(queries, 5, torch.isin(index.ids, allowed))) == expected


def test_allowed_ids_that_are_not_there_are_ignored():
    index = filled(12, 20, 3)
    for dtype in (torch.int32, torch.int64):
        allow = torch.tensor([-5, 1, 3, 3, 1000, 6], dtype=dtype)
        assert set(index.search(packed(1, 12), 9, allow).ids.flatten().tolist()) == {3, 6, -1}


@pytest.mark.parametrize("kind", [list, tuple, numpy.array], ids=["list", "tuple", "array"])
def test_ids_may_be_lists_and_arrays(kind):
    index, codes = HammingIndex(12), packed(5, 12)
    assert index.add(codes, kind([7, 3, 5, 9, 4])).tolist() == [7, 3, 5, 9, 4]
    assert torch.equal(index.get(kind([9, 7])), codes[[3, 0]])
    assert index.search(codes[:1], 2, kind([5, 9])).ids.sort().values.tolist() == [[5, 9]]
    assert index.search(codes[:1], 2, kind([False, False, False, True, False])).ids.tolist() == [[7, -1]]
    assert index.range_search(codes[:1], 12, kind([])).ids.tolist() == []
    assert index.remove(kind([3, 9])) == 2
    assert index.remove(kind([])) == 0
    assert index.ids.tolist() == [4, 5, 7]


@pytest.mark.parametrize("ids", ["34", {3, 4}, [[3], [4, 5]]], ids=["word", "set", "ragged"])
def test_ids_that_are_no_list_are_named(ids):
    index = filled(12, 20, 3)
    text = f"must be a torch.Tensor or a list or an array of numbers, got {type(ids).__name__}$"
    for call, name in (
        (lambda: index.remove(ids), "ids"),
        (lambda: index.get(ids), "ids"),
        (lambda: index.add(packed(2, 12), ids), "ids"),
        (lambda: index.search(packed(2, 12), 3, ids), "allow"),
    ):
        with pytest.raises(TypeError, match=f"^HammingIndex: {name} {text}"):
            call()
    with pytest.raises(TypeError, match=r"^HammingIndex: queries must be a torch\.Tensor, got ndarray$"):
        index.search(packed(2, 12).numpy(), 3)


def test_removal_counts_and_keeps_the_counter():
    index = filled(12, 5)
    assert index.remove(torch.tensor([4, 1, 4])) == 2
    assert index.remove(torch.empty(0, dtype=torch.int64)) == 0
    assert index.ids.tolist() == [0, 2, 3]
    assert index.add(packed(1, 12)).tolist() == [5]
    assert index.add(packed(1, 12), torch.tensor([4])).tolist() == [4]


@pytest.mark.parametrize("method", ["remove", "get"])
@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (torch.tensor([3, 100, 6]), "ids must be ids that the index holds, got 100, which it does not$"),
        (torch.tensor([3, -1, 5, 7]), "got -1, which it does not, and 2 more"),
        (torch.tensor([3.0]), "ids must be a tensor of dtype int8"),
        (torch.tensor([[3]]), r"ids must be of shape \(n,\), got \(1, 1\)"),
        (torch.tensor([3]).to("meta"), "ids must be on cpu, got meta"),
    ],
)
def test_bad_removals_remove_nothing(method, ids, text):
    index = filled(12, 20, 3)
    with pytest.raises(ValueError, match=text):
        getattr(index, method)(ids)
    assert len(index) == 20


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("step", ["put", "take"])
def test_a_change_that_fails_half_way_changes_nothing(step, error, monkeypatch):
    index = filled(12, 200, 3)
    before = copy.deepcopy(index)
    calls = 0

    def fail(*_):
        nonlocal calls
        calls += 1
        if calls == 1 + (step == "put"):
            raise error
        return work(*_)

    work = getattr(layout, step)
    monkeypatch.setattr(layout, step, fail)
    for change in (lambda: index.add(packed(5, 12), torch.arange(5) * 3 + 1), lambda: index.remove(index.ids[3:7])):
        calls = 0
        with pytest.raises(error):
            change()
    monkeypatch.undo()
    assert torch.equal(index.ids, before.ids)
    assert torch.equal(index.codes, before.codes)
    index.add(packed(5, 12))
    before.add(packed(5, 12))
    assert torch.equal(index.codes, before.codes)


def test_to_another_place():
    index = filled(12, 100, 3)
    assert index.to("cpu") is index
    host = index.to("cpu", storage="host")
    assert host.storage == "host"
    host.remove(host.ids[:10])
    assert len(index) == 100
    assert host.add(packed(1, 12)).tolist() == [298]
    back = host.to("cpu", storage="device")
    assert torch.equal(back.codes, host.codes)
    assert back.to("cpu").storage == "device"


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


def test_bad_ranges_and_masks():
    index, queries = filled(12, 20), packed(2, 12)
    with pytest.raises(ValueError, match="radius must be >= 0, got -1"):
        index.range_search(queries, -1)
    with pytest.raises(ValueError, match="queries must be a tensor of dtype uint8"):
        index.range_search(queries.int(), 1)
    for search in (index.search, index.range_search):
        with pytest.raises(ValueError, match=r"allow must be of shape \(20,\), got \(19,\)"):
            search(queries, 1, torch.ones(19, dtype=torch.bool))
        with pytest.raises(ValueError, match="allow must be a tensor of dtype int8, int16, int32, int64, got uint8"):
            search(queries, 1, torch.ones(20, dtype=torch.uint8))
        with pytest.raises(ValueError, match="allow must be on cpu, got meta"):
            search(queries, 1, torch.ones(20, dtype=torch.bool, device="meta"))


def test_bad_construction():
    with pytest.raises(ValueError, match="storage must be one of 'device', 'host', got 'disk'"):
        HammingIndex(8, storage="disk")
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
    assert repr(HammingIndex(8, storage="host")) == "HammingIndex(bits=8, codes=0, device='cpu', storage='host')"
