# SPDX-License-Identifier: Apache-2.0
import errno
import os
import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasthash import reference
from fasthash.errors import FileFormatError
from fasthash.index import HammingIndex

METADATA = {"format": "fasthash.hamming_index", "version": "1", "bits": "12", "next_id": "9"}
CODES = torch.tensor([[1, 16], [2, 32], [255, 240]], dtype=torch.uint8)
IDS = torch.tensor([0, 3, 8])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "codes.fhi"


def filled(bits=12, rows=20):
    index = HammingIndex(bits)
    index.add(reference.pack_codes(torch.randn(rows, bits, generator=torch.Generator().manual_seed(0))))
    return index


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


def test_a_hand_written_file_loads(path):
    write(path)
    assert HammingIndex.load(path).ids.tolist() == [0, 3, 8]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": "pt"}, "not a file of HammingIndex .*got 'pt'"),
        ({"format": None}, "not a file of HammingIndex .*got None"),
        ({"version": "2"}, "version must be 1, got 2"),
        ({"version": None}, "version must be a number >= 0, got ''"),
        ({"bits": "0"}, "bits must be >= 1, got 0"),
        ({"bits": "-12"}, "bits must be a number >= 0, got '-12'"),
        ({"bits": "9" * 5000}, "bits must be a number"),
        ({"bits": "٣"}, "bits must be a number"),
        ({"bits": "17"}, r"codes must be uint8 of shape \(N, 3\) for 17 bits, got torch.uint8 \(3, 2\)"),
        ({"bits": "11"}, "codes have bits set behind bit 11"),
        ({"next_id": "8"}, "next_id must be above the last id 8, got 8"),
        ({"codes": CODES.float()}, "codes must be uint8"),
        ({"codes": CODES.flatten()}, "codes must be uint8 of shape"),
        ({"ids": IDS[:2]}, r"ids must be int64 of shape \(3,\), got torch.int64 \(2,\)"),
        ({"ids": IDS.int()}, "ids must be int64"),
        ({"ids": torch.tensor([0, 3, 3])}, "ids must be >= 0, ascending and unique"),
        ({"ids": torch.tensor([3, 0, 8])}, "ids must be >= 0, ascending and unique"),
        ({"ids": torch.tensor([-1, 0, 8])}, "ids must be >= 0, ascending and unique"),
        ({"extra": {"more": torch.zeros(1)}}, "tensors must be codes and ids, got codes, ids, more"),
    ],
)
def test_tampered_files_are_named_and_explained(path, changes, text):
    write(path, **changes)
    with pytest.raises(FileFormatError, match=text) as caught:
        HammingIndex.load(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 20, 100, -1])
def test_truncated_files_are_refused(path, keep):
    filled().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match="not a whole safetensors file"):
        HammingIndex.load(path)


@given(junk=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(path, junk):
    path.write_bytes(junk)
    with pytest.raises(FileFormatError, match=r"codes\.fhi: "):
        HammingIndex.load(path)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_never_gives_anything_but_an_index_or_an_error(path, position, value):
    filled().save(path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        index = HammingIndex.load(path)
    except FileFormatError:
        return
    assert index.codes.shape == (len(index), (index.bits + 7) // 8)
    assert index.search(index.codes[:1], 1).ids.shape == (1, 1)


def test_foreign_files_are_refused(path):
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
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
