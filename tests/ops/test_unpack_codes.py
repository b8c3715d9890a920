# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from tests.cases import FLOAT_DTYPES, packed_layouts, random_codes

DTYPES = (*FLOAT_DTYPES, torch.int8, torch.bool)
BITS = [1, 7, 8, 9, 12, 31, 32, 33, 63, 64, 65, 127, 128, 130]


def check(kernels, packed, bits, dtype):
    codes = kernels.ops.unpack_codes(packed.to(kernels.device), bits, dtype)
    assert codes.dtype == dtype
    assert torch.equal(codes.cpu(), reference.unpack_codes(packed, bits, dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bits", BITS)
def test_matches_the_reference(kernels, dtype, bits):
    for rows in (1, 5):
        check(kernels, random_codes(rows, (bits + 7) // 8), bits, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_machines_match_the_reference(machine, dtype):
    for bits in (*BITS, 1000):
        for rows in (1, 4):
            packed = random_codes(rows, (bits + 7) // 8)
            assert torch.equal(ops.unpack_codes(packed, bits, dtype), reference.unpack_codes(packed, bits, dtype))


@pytest.mark.parametrize("bits", [1, 8, 12, 64, 65])
def test_any_layout(kernels, bits):
    for packed in packed_layouts(10, (bits + 7) // 8).values():
        check(kernels, packed, bits, torch.float32)


@settings(max_examples=80, deadline=None)
@given(rows=st.integers(0, 40), bits=st.integers(1, 300), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**31))
def test_undoes_packing(rows, bits, dtype, seed):
    torch.manual_seed(seed)
    bools = torch.rand(rows, bits) < 0.5
    expected = bools if dtype == torch.bool else bools.to(dtype) * 2 - 1
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert torch.equal(ops.unpack_codes(ops.pack_codes(bools), bits, dtype), expected)
    _C.force_machine("")


@pytest.mark.parametrize("leading", [(), (0,), (2, 3), (2, 0), (3, 1, 2)])
def test_leading_dimensions(kernels, leading):
    packed = torch.randint(0, 256, (*leading, 2), dtype=torch.uint8)
    codes = kernels.ops.unpack_codes(packed.to(kernels.device), 12, torch.float32)
    assert codes.shape == (*leading, 12)
    assert torch.equal(codes.cpu(), reference.unpack_codes(packed, 12))


def test_threads_give_the_same_bits(threads):
    packed = random_codes(70_000, 5)
    for count in (1, 2, 7):
        threads(count)
        assert torch.equal(ops.unpack_codes(packed, 33), reference.unpack_codes(packed, 33))


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != torch.bfloat16], ids=str)
def test_numpy_door_gives_the_same_bits(machine, dtype):
    packed = random_codes(40, 9)[:, 2:5]
    name = str(dtype).removeprefix("torch.")
    codes = ops.unpack_codes(packed, 21, dtype).numpy()
    for given_dtype in (name, np.dtype(name)):
        assert np.array_equal(_C.unpack_codes(packed.numpy(), 21, given_dtype), codes)
    assert _C.unpack_codes(packed.numpy(), 21).dtype == np.float32


def test_opcheck(device):
    for dtype in DTYPES:
        torch.library.opcheck(torch.ops.fasthash.unpack_codes.default, (random_codes(4, 2).to(device), 12, dtype))


def test_compiles_as_one_graph(device):
    torch._dynamo.reset()
    compiled = torch.compile(lambda p: ops.unpack_codes(p, 12) + 1, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (4, 9):
        packed = random_codes(rows, 2).to(device)
        assert torch.equal(compiled(packed), ops.unpack_codes(packed, 12) + 1)


@pytest.mark.parametrize("unpack", [ops.unpack_codes, reference.unpack_codes], ids=["ops", "reference"])
@pytest.mark.parametrize(
    ("packed", "bits", "dtype", "message"),
    [
        (torch.zeros(2, 2), 12, torch.float32, "packed must be a tensor of dtype uint8, got float32"),
        (random_codes(2, 2), 17, torch.float32, r"packed must be of shape \(\.\.\., 3\) for 17 bits, got \(2, 2\)"),
        (random_codes(2, 2), 8, torch.float32, r"packed must be of shape \(\.\.\., 1\) for 8 bits, got \(2, 2\)"),
        (random_codes(2, 2)[0, 0], 8, torch.float32, r"packed must be of shape \(\.\.\., 1\) for 8 bits, got \(\)"),
        (random_codes(2, 2), 0, torch.float32, "bits must be >= 1, got 0"),
        (random_codes(2, 2), -9, torch.float32, "bits must be >= 1, got -9"),
        (
            random_codes(2, 2),
            12,
            torch.int32,
            r"dtype must be one of float32, float64, bfloat16, float16, int8, bool, got (torch\.)?int32",
        ),
    ],
)
def test_bad_input_is_named(unpack, packed, bits, dtype, message):
    with pytest.raises(ValueError, match="^unpack_codes: " + message):
        unpack(packed, bits, dtype)
