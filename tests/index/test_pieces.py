# SPDX-License-Identifier: Apache-2.0
"""Codes in host memory, searched in pieces: the results of a search of the whole."""

from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from fasthash import ops
from fasthash.index import HammingIndex, pieces
from fasthash.index.code_store import CodeStore

from .cases import packed


def case(rows, bits, device="cpu"):
    """Few different codes, so that distances tie within pieces and across them."""
    codes = packed(7, bits)[torch.randint(0, 7, (rows,), generator=torch.Generator().manual_seed(1))]
    mask = torch.rand(rows, generator=torch.Generator().manual_seed(2)) < 0.3
    return codes.to(device), packed(3, bits, 5).to(device), mask


def equal(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("masked", [False, True])
@given(
    rows=st.integers(1, 400),
    bits=st.sampled_from([8, 32, 40, 64, 72, 200]),
    piece_bytes=st.sampled_from([1, 1024, 3000, 10_000, 1 << 28]),
    k=st.integers(1, 500),
    radius=st.integers(0, 40),
)
def test_pieces_of_every_size_find_what_a_whole_search_finds(masked, rows, bits, piece_bytes, k, radius):
    codes, queries, mask = case(rows, bits)
    allow = ops.pack_codes(mask) if masked else None
    database, k = ops.prepare_database(codes), min(k, rows)
    with mock.patch.object(pieces, "PIECE_BYTES", piece_bytes):
        parts = list(pieces.streamed(database, allow, torch.device("cpu")))
        found = pieces.nearest(queries, parts, k)
        ball = pieces.within(queries, parts, radius)
    assert equal(found, ops.hamming_topk(queries, database, k, allow=allow))
    assert equal(ball, ops.hamming_range(queries, database, radius, allow=allow))
    assert sum(len(part.codes) for part in parts) == rows
    if piece_bytes == 1:
        assert len(parts) == -(-rows // 64)


def test_pieces_are_views():
    database = ops.prepare_database(packed(200, 64))
    with mock.patch.object(pieces, "PIECE_BYTES", 1024):
        parts = list(pieces.streamed(database, None, torch.device("cpu")))
    assert [part.first for part in parts] == [0, 128]
    assert parts[1].codes.words.data_ptr() == database.words.data_ptr() + 1024


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 64, 500, 5000])
def test_an_index_in_host_memory_searches_on_its_device(device, rows, masked):
    codes, queries, mask = case(rows, 72, device)
    whole, streamed = HammingIndex(72, device), HammingIndex(72, device, storage="host")
    assert streamed.storage == "host"
    for index in (whole, streamed):
        index.add(codes[: rows // 2])
        index.add(codes[rows // 2 :], torch.arange(2 * rows, 2 * rows + rows - rows // 2, device=device).flip(0))
    allow = mask.to(device) if masked else None
    assert streamed.codes.device == streamed.ids.device == torch.device("cpu")
    assert torch.equal(streamed.codes, whole.codes.cpu())
    with mock.patch.object(pieces, "PIECE_BYTES", 2048):
        assert equal(streamed.search(queries, 30, allow), whole.search(queries, 30, allow))
        assert equal(streamed.range_search(queries, 30, allow), whole.range_search(queries, 30, allow))
        assert streamed.search(queries, 1).ids.device == whole.device


class Stream:
    """A CUDA stream as a queue of work, done when `run` says so."""

    streams: list

    def __init__(self, device=None):
        self.queue = []
        Stream.streams.append(self)

    def record_event(self):
        event = [False]
        self.queue.append((lambda: True, lambda: event.__setitem__(0, True)))
        return event

    def wait_event(self, event):
        self.queue.append((lambda: event[0], lambda: None))

    def wait_stream(self, other):
        self.wait_event(other.record_event())

    def synchronize(self):
        while self.queue:
            Stream.run()

    @classmethod
    def run(cls):
        """Does the next work that waits for nothing, of the first stream that has some."""
        stream = next(stream for stream in cls.streams if stream.queue and stream.queue[0][0]())
        stream.queue.pop(0)[1]()


class StandIn(TorchFunctionMode):
    """Device memory is host memory, and what is copied without waiting is copied when the stream gets to it."""

    def __init__(self, copies_first):
        super().__init__()
        Stream.streams = []
        self.compute = Stream()
        self.current, self.copies_first = self.compute, copies_first

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.copy_ and kwargs.pop("non_blocking", False):
            self.current.queue.append((lambda: True, lambda: func(*args)))
            Stream.streams.sort(key=lambda stream: (stream is self.compute) == self.copies_first)
            return args[0]
        kwargs.pop("device", None)
        return func(*args, **kwargs)


def seen_on_a_stand_in(database, copies_first):
    """The words of each piece as the work of the compute stream finds them, work done as late as allowed."""
    with (
        StandIn(copies_first) as device,
        mock.patch.multiple(torch.cuda, Stream=Stream, current_stream=lambda _: device.compute, stream=device.stream),
    ):
        seen = []
        for part in pieces.streamed(database, None, torch.device("cuda")):
            words = part.codes.words
            device.compute.queue.append((lambda: True, lambda words=words: seen.append(words.clone())))
        device.compute.synchronize()
    return torch.cat(seen)


@pytest.mark.parametrize("copies_first", [True, False])
@pytest.mark.parametrize("rows", [1, 64, 128, 129, 300, 700])
def test_a_piece_stays_until_its_search_is_done(rows, copies_first, monkeypatch):
    """The order of copies and searches, on streams that are played; the streams of CUDA need a device."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1024)
    database = ops.prepare_database(packed(rows, 64))
    assert torch.equal(seen_on_a_stand_in(database, copies_first), database.words)


def test_the_stand_in_notices_a_search_that_does_not_wait(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1024)
    monkeypatch.setattr(Stream, "wait_event", lambda self, event: None)
    database = ops.prepare_database(packed(700, 64))
    orders = [seen_on_a_stand_in(database, copies_first) for copies_first in (True, False)]
    assert not all(torch.equal(seen, database.words) for seen in orders)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_codes_for_host_memory_come_from_either_side():
    index = HammingIndex(64, "cuda", storage="host")
    index.add(packed(300, 64))
    index.add(packed(300, 64, 1).cuda(), torch.arange(600, 900, device="cuda"))
    assert index._store.words.is_pinned()
    assert index.remove(torch.arange(0, 100)) == 100
    queries = packed(3, 64, 5).cuda()
    assert equal(index.search(queries, 5, torch.arange(900)), index.to("cuda", storage="device").search(queries, 5))


def test_more_memory_than_there_is():
    with pytest.raises(MemoryError, match=r"HammingIndex: \d+ codes of 8 bytes need \d+ bytes of memory on cpu"):
        CodeStore.empty(8, torch.device("cpu"), capacity=1 << 56)
