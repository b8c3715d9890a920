# SPDX-License-Identifier: Apache-2.0
"""The head of an index file, and the ways of its data."""

import json
import os

import pytest
import torch

from fasthash.errors import FileFormatError
from fasthash.index import HammingIndex, tensor_file

from .cases import filled


@pytest.fixture
def path(tmp_path):
    return tmp_path / "codes.fhi"


def test_reading_and_writing_go_a_piece_at_a_time(path, monkeypatch):
    index = filled(64, 5000)
    monkeypatch.setattr(tensor_file, "_CHUNK", 1000)
    words = index._store.database.words
    parts = list(tensor_file._chunks(words))
    assert [part.data_ptr() for part in parts] == list(range(words.data_ptr(), words.data_ptr() + words.nbytes, 1000))
    index.save(path)
    loaded = HammingIndex.load(path)
    assert torch.equal(loaded.codes, index.codes)
    assert torch.equal(loaded.ids, index.ids)


def test_a_file_that_shrinks_while_it_is_read(path, monkeypatch):
    filled(64, 5000).save(path)

    def shrink(self, begin, size):
        path.write_bytes(path.read_bytes()[:2000])

    monkeypatch.setattr(tensor_file.TensorFile, "_check_places", shrink)
    with pytest.raises(FileFormatError, match="less than there was when it was opened"):
        HammingIndex.load(path)


def test_opening_a_mapped_file_reads_none_of_its_codes(path):
    """A sparse file of a terabyte, whose middle nobody can read in the time of a test."""
    count = 1 << 37
    header = {
        "__metadata__": {"format": "fasthash.hamming_index", "version": "2", "bits": "32", "next_id": str(count)},
        "codes": {"dtype": "I64", "shape": [count // 16, 1, 8], "data_offsets": [0, 4 * count]},
        "ids": {"dtype": "I64", "shape": [count], "data_offsets": [4 * count, 12 * count]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    try:
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + 12 * count)
            file.seek(-8, os.SEEK_END)
            file.write((count - 1).to_bytes(8, "little"))
    except OSError as error:
        pytest.skip(f"no sparse files here: {error}")
    assert len(HammingIndex.load(path, mmap=True)) == count


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("[]", "AttributeError|TypeError"),
        ("{", "JSONDecodeError"),
        ("[" * 100_000, "RecursionError"),
        ("9" * 5000, "ValueError|AttributeError"),
        ('{"__metadata__": []}', "metadata that are not text"),
        ('{"__metadata__": {"bits": 12}}', "metadata that are not text"),
        ('{"codes": 3}', "TypeError"),
        ('{"codes": {"dtype": "I64", "shape": [2]}}', "KeyError: 'data_offsets'"),
        ('{"codes": {"dtype": ["I64"], "shape": [2], "data_offsets": [0, 16]}}', "KeyError"),
        ('{"codes": {"dtype": "I64", "shape": [true], "data_offsets": [0, 8]}}', "where sizes were due"),
        ('{"codes": {"dtype": "I64", "shape": [-2, -1], "data_offsets": [0, 16]}}', "where sizes were due"),
        ('{"codes": {"dtype": "I64", "shape": [4611686018427387904, 0], "data_offsets": [0, 0]}}', "sizes were due"),
        ('{"codes": {"dtype": "I64", "shape": 2, "data_offsets": [0, 16]}}', "where sizes were due"),
        ('{"codes": {"dtype": "I64", "shape": [2], "data_offsets": [0, 8, 16]}}', "ValueError: too many"),
        ('{"codes": {"dtype": "I64", "shape": [2], "data_offsets": [0, 8]}}', "bytes 0 to 8"),
        ('{"codes": {"dtype": "I64", "shape": [2], "data_offsets": [16, 32]}}', "a tensor at .* where .* was due"),
        ('{"codes": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}', "bytes in place of"),
        ("{}", "bytes in place of"),
    ],
)
@pytest.mark.parametrize("mmap", [False, True])
def test_headers_that_make_no_sense(path, header, text, mmap):
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(16))
    with pytest.raises(FileFormatError, match=rf"codes\.fhi: not a whole safetensors file of integers .*({text})"):
        HammingIndex.load(path, mmap=mmap)


def test_a_header_longer_than_the_file(path):
    path.write_bytes((1 << 63).to_bytes(8, "little") + b"{}")
    with pytest.raises(FileFormatError, match="10 bytes with a header of 9223372036854775808"):
        HammingIndex.load(path)
