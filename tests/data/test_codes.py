# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import safetensors.torch
import torch

from fasthash.data import CodeSet
from fasthash.errors import FileFormatError


def _codes():
    codes = torch.randint(0, 256, (3, 2), dtype=torch.uint8)
    return CodeSet(codes, 12, torch.tensor([1, -1, 0]), ["cat", "dog"], ["a.png", "ünï/b c.png", "d\n.png"], "/photos")


def test_round_trip(tmp_path):
    written = _codes()
    written.save(tmp_path / "codes.safetensors")
    read = CodeSet.load(tmp_path / "codes.safetensors")
    assert torch.equal(read.codes, written.codes)
    assert torch.equal(read.labels, written.labels)
    assert (read.bits, read.classes, read.names, read.root) == (12, written.classes, written.names, "/photos")
    assert [read.class_name(row) for row in range(3)] == ["dog", "", "cat"]


def test_what_is_no_codes_file_is_refused(tmp_path):
    path = tmp_path / "codes.safetensors"
    _codes().save(path)
    whole = path.read_bytes()
    for length in (0, 5, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="truncated or foreign"):
            CodeSet.load(path)
    path.write_bytes(safetensors.torch.save({"x": torch.zeros(1)}))
    with pytest.raises(FileFormatError, match=r"expected fasthash\.codes 1, got a foreign file"):
        CodeSet.load(path)
    with pytest.raises(FileNotFoundError, match="expected a codes file"):
        CodeSet.load(tmp_path / "none")


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="codes must be"):
        CodeSet(torch.zeros(3, 2, dtype=torch.uint8), 17, torch.zeros(3), ["a"], ["x", "y", "z"], "")
