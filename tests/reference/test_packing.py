# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash import reference

PACKABLE = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int16, torch.int32]
UNPACKABLE = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.bool]


def random_codes(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(rows=st.integers(0, 5), bits=st.integers(1, 70), seed=st.integers(0, 99))
def test_packs_like_numpy(rows, bits, seed):
    codes = random_codes(rows, bits, seed=seed)
    expected = np.packbits(codes.numpy() >= 0, axis=1)
    assert np.array_equal(reference.pack_codes(codes).numpy(), expected)
    assert np.array_equal(reference.pack_codes(codes >= 0).numpy(), expected)


@given(rows=st.integers(0, 5), bits=st.integers(1, 70), dtype=st.sampled_from(UNPACKABLE))
def test_unpacking_undoes_packing(rows, bits, dtype):
    codes = random_codes(rows, bits)
    unpacked = reference.unpack_codes(reference.pack_codes(codes), bits, dtype)
    expected = codes >= 0 if dtype == torch.bool else (codes >= 0).to(dtype) * 2 - 1
    assert unpacked.dtype == dtype
    assert torch.equal(unpacked, expected)


@pytest.mark.parametrize("dtype", PACKABLE)
def test_every_dtype_packs_by_its_sign(dtype):
    codes = torch.tensor([[-2, -1, 0, 1, 2, 0, -3, 5, -1, 1]]).to(dtype)
    assert reference.pack_codes(codes).tolist() == [[0b00111101, 0b01000000]]


def test_zero_of_either_sign_is_one():
    assert reference.pack_codes(torch.tensor([[0.0, -0.0, -1.0]])).tolist() == [[0b11000000]]


def test_strides_and_leading_dimensions():
    codes = random_codes(3, 12, 4).transpose(1, 2)[..., ::2]
    packed = reference.pack_codes(codes)
    assert packed.shape == (3, 4, 1)
    assert torch.equal(packed, reference.pack_codes(codes.contiguous()))
    assert reference.unpack_codes(packed.transpose(0, 1), 6).shape == (4, 3, 6)
    assert reference.pack_codes(codes[0, 0]).shape == (1,)


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        (torch.zeros(2, 8, dtype=torch.uint8), "ambiguous, pass bool"),
        (torch.zeros(2, 8, dtype=torch.complex64), "pack_codes: codes must be a tensor of dtype"),
        (torch.zeros(2, 0), "of shape"),
        (torch.tensor(1.0), "of shape"),
        (torch.tensor([[1.0, float("nan")]]), "free of NaN"),
    ],
)
def test_pack_refuses(codes, text):
    with pytest.raises(ValueError, match=text):
        reference.pack_codes(codes)


@pytest.mark.parametrize(
    ("packed", "bits", "dtype", "text"),
    [
        (torch.zeros(2, 2), 12, torch.float32, "packed must be a tensor of dtype uint8, got float32"),
        (torch.zeros(2, 2, dtype=torch.uint8), 17, torch.float32, r"of shape \(\.\.\., 3\) for 17 bits, got \(2, 2\)"),
        (torch.zeros(2, 2, dtype=torch.uint8), 0, torch.float32, "bits must be >= 1, got 0"),
        (torch.zeros(2, 2, dtype=torch.uint8), 12, torch.int32, "dtype must be one of"),
    ],
)
def test_unpack_refuses(packed, bits, dtype, text):
    with pytest.raises(ValueError, match=text):
        reference.unpack_codes(packed, bits, dtype)
