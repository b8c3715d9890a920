# SPDX-License-Identifier: Apache-2.0
import errno
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasthash import ops
from fasthash.errors import FileFormatError
from fasthash.index import HammingIndex, hamming_index
from fasthash.index.code_store import CodeStore

from .cases import filled, packed

METADATA = {"format": "fasthash.hamming_index", "version": "2", "bits": "12", "next_id": "9"}
ROWS = torch.tensor([[1, 16], [2, 32], [255, 240]], dtype=torch.uint8)
CODES = ops.prepare_database(ROWS).words
IDS = torch.tensor([0, 3, 8])
VERSION_1 = {"version": "1", "codes": ROWS}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "codes.fhi"


def write(path, *, codes=CODES, ids=IDS, extra=None, **changed):
    metadata = {key: value for key, value in {**METADATA, **changed}.items() if value is not None}
    path.write_bytes(safetensors.torch.save({"codes": codes, "ids": ids, **(extra or {})}, metadata))


@pytest.mark.parametrize(("bits", "rows"), [(12, 20), (64, 1), (8, 0)])
def test_round_trip(path, bits, rows):
    index = filled(bits, rows)
    index.add(index.codes[:0], torch.empty(0, dtype=torch.int64))
    index.save(path)
    loaded = HammingIndex.load(path)
    assert loaded.bits == bits
    assert torch.equal(loaded.codes, index.codes)
    assert torch.equal(loaded.ids, index.ids)
    assert os.listdir(path.parent) == [path.name]


def test_the_counter_of_ids_is_saved(path):
    index = filled(12, 2)
    index.add(index.codes[:1], torch.tensor([77]))
    index.save(path)
    assert HammingIndex.load(str(path)).add(index.codes[:1]).tolist() == [78]


def test_a_loaded_index_does_not_need_its_file(path):
    index = filled()
    index.save(path)
    loaded = HammingIndex.load(path)
    path.write_bytes(b"")
    assert torch.equal(loaded.codes, index.codes)
    loaded.add(index.codes)
    assert len(loaded) == 40


@pytest.mark.parametrize("changes", [{}, VERSION_1])
def test_hand_written_files_of_both_versions_load(path, changes):
    write(path, **changes)
    loaded = HammingIndex.load(path)
    assert loaded.ids.tolist() == [0, 3, 8]
    assert torch.equal(loaded.codes, ROWS)
    assert loaded.add(ROWS).tolist() == [9, 10, 11]
    loaded.save(path)
    assert torch.equal(HammingIndex.load(path, mmap=True).codes, torch.cat([ROWS, ROWS]))


def test_a_large_file_of_version_1_loads(path):
    rows = packed(1000, 72)
    write(path, version="1", codes=rows, ids=torch.arange(1000), bits="72", next_id="1000")
    assert torch.equal(HammingIndex.load(path).codes, rows)


@pytest.mark.parametrize("bits", [3, 12, 64, 100])
@pytest.mark.parametrize("rows", [0, 1, 64, 1000])
def test_the_data_begin_at_a_multiple_of_64_bytes(path, bits, rows):
    index = filled(bits, rows)
    index.save(path)
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    assert begin % 64 == 0
    assert data[begin:] == index._store.database.words.numpy().tobytes() + index.ids.numpy().tobytes()
    tensors = safetensors.torch.load_file(path)
    assert sorted(tensors) == ["codes", "ids"]


@pytest.mark.parametrize("bits", [12, 64, 72])
def test_a_mapped_file_is_searched_where_it_lies(path, bits):
    index = filled(bits, 3000, 3)
    index.save(path)
    mapped = HammingIndex.load(path, mmap=True)
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    assert lines
    assert all(line.split()[1] == "r--s" for line in lines)  # read-only, shared
    ranges = [[int(place, 16) for place in line.split()[0].split("-")] for line in lines]
    for tensor in (mapped._store.database.words, mapped.ids):
        assert any(begin <= tensor.data_ptr() < end for begin, end in ranges)
    queries = packed(5, bits, 7)
    for allow in (None, index.ids[::2], index.ids[:3]):
        for found, expected in (
            (mapped.search(queries, 20, allow), index.search(queries, 20, allow)),
            (mapped.range_search(queries, bits // 3, allow), index.range_search(queries, bits // 3, allow)),
        ):
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(mapped.get(index.ids[-3:]), index.codes[-3:])
    assert repr(mapped).endswith(f"file={str(path)!r})")


def test_a_mapped_index_cannot_be_changed_but_copied(path):
    filled(12, 20).save(path)
    mapped = HammingIndex.load(path, mmap=True)
    for change in (lambda: mapped.add(packed(1, 12)), lambda: mapped.remove(mapped.ids[:1])):
        with pytest.raises(ValueError, match=r"needs an index in memory, got one that is mapped from .*codes\.fhi"):
            change()
    before = path.read_bytes()
    copy = mapped.to(mapped.device)
    copy.remove(copy.ids[:5])
    assert copy.add(packed(1, 12)).tolist() == [20]
    assert path.read_bytes() == before
    copy.save(path)  # in place of the mapped file, which stays as long as it is mapped
    assert len(mapped.codes) == 20
    assert len(HammingIndex.load(path)) == 16


def test_a_mapped_file_can_be_saved_over_itself(path):
    filled(12, 20).save(path)
    before = path.read_bytes()
    HammingIndex.load(path, mmap=True).save(path)
    assert path.read_bytes() == before


def align(path):
    """Fills the header up with spaces, as `save` does."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = data[8:begin] + b" " * (-begin % 64)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[begin:])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (VERSION_1, "a file of version 1 cannot be mapped; load and save it once"),
        ({"ids": torch.tensor([-1, 0, 8])}, "ids must be >= 0, ascending and unique"),
        ({"ids": torch.tensor([3, 0, 4])}, "ids must be >= 0, ascending and unique"),
        ({"next_id": "8"}, "next_id must be above the last id 8, got 8"),
    ],
)
def test_files_that_cannot_be_mapped(path, changes, text):
    write(path, **changes)
    align(path)
    with pytest.raises(FileFormatError, match=text) as caught:
        HammingIndex.load(path, mmap=True)
    assert str(caught.value).startswith(str(path))


def test_codes_at_any_place_can_be_read_but_not_mapped(path):
    filled(12, 200).save(path)
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for more in (1, 4, 8, 32):
        header = data[8:begin] + b" " * more
        path.write_bytes(len(header).to_bytes(8, "little") + header + data[begin:])
        assert torch.equal(HammingIndex.load(path).codes, filled(12, 200).codes)
        with pytest.raises(FileFormatError, match="codes must begin at a multiple of 64 bytes to be mapped"):
            HammingIndex.load(path, mmap=True)


def test_mapped_codes_are_not_on_a_gpu(path, monkeypatch):
    filled().save(path)
    monkeypatch.setattr(hamming_index, "_available_device", torch.device)
    monkeypatch.setattr(CodeStore, "empty", lambda *_, **__: None)
    with pytest.raises(ValueError, match="storage must be 'host' where a file is mapped for a GPU, got 'device'"):
        HammingIndex.load(path, "cuda", mmap=True)


def test_host_storage_loads(path):
    index = filled(12, 200)
    index.save(path)
    for mmap in (False, True):
        loaded = HammingIndex.load(path, storage="host", mmap=mmap)
        assert loaded.storage == "host"
        assert torch.equal(loaded.search(packed(3, 12), 9).ids, index.search(packed(3, 12), 9).ids)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": "pt"}, "not a file of HammingIndex .*got 'pt'"),
        ({"format": None}, "not a file of HammingIndex .*got None"),
        ({"version": "3"}, "version must be 1 or 2, got 3"),
        (
            {"version": "1"},
            r"codes must be uint8 of shape \(3, 2\) for 3 codes of 12 bits, got int64 of shape \(4, 1, 8\)",
        ),
        ({"version": None}, "version must be a number >= 0, got ''"),
        ({"bits": "0"}, "bits must be >= 1, got 0"),
        ({"bits": "-12"}, "bits must be a number >= 0, got '-12'"),
        ({"bits": "9" * 5000}, "bits must be a number"),
        ({"bits": "٣"}, "bits must be a number"),
        ({**VERSION_1, "bits": "17"}, r"codes must be uint8 of shape \(3, 3\) for 3 codes of 17 bits, got uint8"),
        (
            {"bits": "33"},
            r"codes must be int64 of shape \(8, 1, 8\) for 3 codes of 33 bits, got int64 of shape \(4, 1, 8\)",
        ),
        ({"bits": "11"}, "codes have bits set behind bit 11"),
        ({**VERSION_1, "bits": "11"}, "codes have bits set behind bit 11"),
        ({"next_id": "8"}, "next_id must be above the last id 8, got 8"),
        ({"codes": CODES.double()}, "not a whole safetensors file of integers .*KeyError: 'F64'"),
        ({"codes": CODES.flatten()}, "codes must be int64 of shape"),
        ({"codes": ROWS}, "codes must be int64 of shape"),
        ({**VERSION_1, "codes": ROWS.float()}, "not a whole safetensors file of integers"),
        ({**VERSION_1, "codes": ROWS.flatten()}, "codes must be uint8 of shape"),
        ({**VERSION_1, "ids": IDS[:2]}, r"codes must be uint8 of shape \(2, 2\) for 2 codes"),
        ({"ids": ROWS[0]}, "ids must be int64"),
        ({"ids": IDS[None]}, r"ids must be int64 of shape \(N,\), got int64 of shape \(1, 3\)"),
        ({"ids": torch.tensor([0, 3, 3])}, "ids must be >= 0, ascending and unique"),
        ({"ids": torch.tensor([3, 0, 8])}, "ids must be >= 0, ascending and unique"),
        ({"ids": torch.tensor([-1, 0, 8])}, "ids must be >= 0, ascending and unique"),
        ({"extra": {"more": torch.zeros(1).long()}}, "tensors must be codes and ids, got codes, ids, more"),
    ],
)
def test_tampered_files_are_named_and_explained(path, changes, text):
    write(path, **changes)
    with pytest.raises(FileFormatError, match=text) as caught:
        HammingIndex.load(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("keep", [0, 1, 7, 8, 20, 100, 256, 300, -161, -1])
def test_truncated_files_are_refused(path, keep, mmap):
    filled().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match="not a whole safetensors file"):
        HammingIndex.load(path, mmap=mmap)


@given(more=st.binary(min_size=1, max_size=100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_with_more_behind_them_are_refused(path, more):
    filled().save(path)
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(FileFormatError, match="not a whole safetensors file"):
        HammingIndex.load(path)


@given(junk=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(path, junk):
    path.write_bytes(junk)
    with pytest.raises(FileFormatError, match=r"codes\.fhi: "):
        HammingIndex.load(path)


CHANGED = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("mmap", [False, True])
@given(changed=CHANGED, position=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_changed_bytes_never_give_anything_but_an_index_or_an_error(path, version, mmap, changed, position, value):
    """Some in the header, one anywhere."""
    write(path, **(VERSION_1 if version == 1 else {}))
    align(path)
    data = bytearray(path.read_bytes())
    for place, byte in (*changed, (position, value)):
        data[place % len(data)] = byte
    path.write_bytes(data)
    try:
        index = HammingIndex.load(path, mmap=mmap)
    except FileFormatError:
        return
    assert index.codes.shape == (len(index), (index.bits + 7) // 8)
    queries = torch.zeros(1, (index.bits + 7) // 8, dtype=torch.uint8)
    assert index.search(queries, 5).ids.shape == (1, 5)
    assert index.search(queries, 5, index.ids[:1]).ids.shape == (1, 5)


def test_foreign_files_are_refused(path):
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(FileFormatError, match="not a whole safetensors file of integers"):
        HammingIndex.load(path)
    safetensors.torch.save_file({"weight": torch.zeros(3, dtype=torch.int64)}, path)
    with pytest.raises(FileFormatError, match="not a file of HammingIndex"):
        HammingIndex.load(path)
    path.write_bytes(pickle.dumps({"codes": [1, 2, 3]}))
    with pytest.raises(FileFormatError, match="not a whole safetensors file"):
        HammingIndex.load(path)


def test_a_missing_file_and_a_folder_are_os_errors(path):
    with pytest.raises(FileNotFoundError):
        HammingIndex.load(path)
    with pytest.raises(IsADirectoryError):
        HammingIndex.load(path.parent)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_keeps_the_old_file(path, monkeypatch, error):
    filled(12, 3).save(path)

    def fail(_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        filled(12, 20).save(path)
    assert len(HammingIndex.load(path)) == 3
    assert os.listdir(path.parent) == [path.name]
