# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from tests.cases import FLOAT_DTYPES, layouts, wide_slice

DTYPES = (*FLOAT_DTYPES, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)
BITS = [1, 7, 8, 9, 12, 31, 32, 33, 63, 64, 65, 127, 128, 130]


def check(kernels, codes):
    packed = kernels.ops.pack_codes(codes.to(kernels.device))
    assert packed.dtype == torch.uint8
    assert torch.equal(packed.cpu(), reference.pack_codes(codes))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bits", BITS)
def test_matches_the_reference(kernels, dtype, bits):
    for rows in (1, 5):
        check(kernels, wide_slice(rows, bits, dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_machines_match_the_reference(machine, dtype):
    for bits in (*BITS, 1000):
        for rows in (1, 4):
            for codes in (wide_slice(rows, bits, dtype), torch.randn(rows, bits).to(dtype)):
                assert torch.equal(ops.pack_codes(codes), reference.pack_codes(codes))


@pytest.mark.parametrize("bits", [1, 8, 12, 64, 65])
def test_any_layout(kernels, bits):
    for codes in layouts(10, bits).values():
        check(kernels, codes)


@settings(max_examples=80, deadline=None)
@given(rows=st.integers(0, 40), bits=st.integers(1, 300), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**31))
def test_any_shape(rows, bits, dtype, seed):
    torch.manual_seed(seed)
    codes = torch.randn(rows, bits).to(dtype)
    expected = np.packbits((codes if dtype == torch.bool else codes >= 0).numpy(), axis=1)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        assert np.array_equal(ops.pack_codes(codes).numpy(), expected)
    _C.force_machine("")


@pytest.mark.parametrize("shape", [(5,), (0, 12), (2, 3, 12), (2, 0, 8), (1, 1, 9), (3, 1, 2, 16)])
def test_leading_dimensions(kernels, shape):
    codes = torch.randn(shape)
    packed = kernels.ops.pack_codes(codes.to(kernels.device))
    assert packed.shape == (*shape[:-1], (shape[-1] + 7) // 8)
    assert torch.equal(packed.cpu(), reference.pack_codes(codes))


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_special_values(kernels, dtype):
    tiny = torch.finfo(dtype).smallest_normal / 4
    values = [0.0, -0.0, float("inf"), -float("inf"), tiny, -tiny, 1.0, -1.0]
    codes = torch.tensor([values * 9], dtype=dtype)
    assert kernels.ops.pack_codes(codes.to(kernels.device)).tolist() == [[0b11101010] * 9]


def test_special_values_of_machines(machine):
    for dtype in FLOAT_DTYPES:
        codes = torch.tensor([[0.0, -0.0, float("inf"), -float("inf"), -1.0] * 13]).to(dtype)
        assert torch.equal(ops.pack_codes(codes), reference.pack_codes(codes))


def test_bytes_above_one_are_true(machine):
    codes = torch.tensor([[0, 1, 2, 128, 255, 0] * 11], dtype=torch.uint8).view(torch.bool)
    assert np.array_equal(ops.pack_codes(codes).numpy(), np.packbits(codes.view(torch.uint8).numpy() != 0, axis=1))


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "position"), [((70,), (66,)), ((5, 9), (3, 8)), ((900, 4, 70), (850, 2, 69))])
def test_the_first_nan_is_named_on_the_cpu(machine, threads, dtype, shape, position):
    codes = torch.randn(shape).to(dtype)
    codes[position] = float("nan")
    codes[tuple(size - 1 for size in shape)] = float("nan")
    text = rf"pack_codes: codes must be free of NaN, got NaN at \({', '.join(map(str, position))},?\)"
    for count in (1, 2):
        threads(count)
        with pytest.raises(ValueError, match=text):
            ops.pack_codes(codes)


def test_nan_packs_as_zero_on_cuda(cuda_kernels):
    codes = torch.tensor([[float("nan"), 1.0, -float("nan"), 1.0]])
    for dtype in FLOAT_DTYPES:
        assert cuda_kernels.ops.pack_codes(codes.to(cuda_kernels.device, dtype)).tolist() == [[0b01010000]]


def test_threads_give_the_same_bits(threads):
    codes = torch.randn(70_000, 33)
    packed = []
    for count in (1, 2, 7):
        threads(count)
        packed.append(ops.pack_codes(codes))
    assert torch.equal(packed[0], reference.pack_codes(codes))
    assert torch.equal(packed[0], packed[1])
    assert torch.equal(packed[0], packed[2])


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != torch.bfloat16], ids=str)
def test_numpy_door_gives_the_same_bits(machine, dtype):
    codes = wide_slice(40, 21, dtype)
    assert np.array_equal(_C.pack_codes(codes.numpy()), ops.pack_codes(codes).numpy())
    backwards = codes.numpy()[::-1, ::-2]
    assert np.array_equal(_C.pack_codes(backwards), ops.pack_codes(torch.from_numpy(backwards.copy())).numpy())


def test_has_no_gradient(device):
    codes = torch.randn(3, 12, device=device, requires_grad=True)
    packed = ops.pack_codes(codes)
    assert not packed.requires_grad


def test_opcheck(device):
    for codes in (torch.randn(4, 12, device=device, requires_grad=True), torch.randn(2, 3, 8, device=device) > 0):
        torch.library.opcheck(torch.ops.fasthash.pack_codes.default, (codes,))


def test_compiles_as_one_graph(device):
    torch._dynamo.reset()
    compiled = torch.compile(lambda z: ops.pack_codes(z) ^ 1, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (4, 9):
        codes = torch.randn(rows, 12, device=device)
        assert torch.equal(compiled(codes), ops.pack_codes(codes) ^ 1)


@pytest.mark.parametrize("pack", [ops.pack_codes, reference.pack_codes], ids=["ops", "reference"])
@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (
            torch.zeros(2, 8, dtype=torch.uint8),
            r"a float, signed integer or bool tensor, got uint8 \(0/1 bytes are ambiguous, pass bool\)",
        ),
        (torch.zeros(2, 0), r"of shape \(\.\.\., bits > 0\), got \(2, 0\)"),
        (torch.tensor(1.0), r"of shape \(\.\.\., bits > 0\), got \(\)"),
    ],
)
def test_bad_input_is_named(pack, codes, message):
    with pytest.raises(ValueError, match="^pack_codes: codes must be " + message):
        pack(codes)


def test_bad_dtypes_are_refused():
    with pytest.raises(ValueError, match="real floating, integer or bool"):
        ops.pack_codes(torch.zeros(2, 8, dtype=torch.complex64))
    with pytest.raises(ValueError, match="ambiguous"):
        _C.pack_codes(np.zeros((2, 8), np.uint8))
    with pytest.raises(ValueError, match="got uint16"):
        _C.pack_codes(np.zeros((2, 8), np.uint16))
