# SPDX-License-Identifier: Apache-2.0
"""pack_codes in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks

_OP = "pack_codes"


def pack_codes(codes: Tensor) -> Tensor:
    """Packs codes into bytes: bit j of a row is bit `7 - j % 8` of byte `j // 8` (the order of `numpy.packbits`).

    Args:
        codes: (..., K) with K > 0. A number x becomes the bit `x >= 0` (so 0 and -0.0 give 1), a bool stays itself.
            float16, bfloat16, float32, float64, int8, int16, int32, int64 or bool; any strides; rows may be absent.

    Returns:
        (..., ceil(K / 8)) uint8 with spare bits zero.

    Raises:
        ValueError: wrong dtype (uint8 is refused: 0/1 bytes are ambiguous, pass bool), no last dimension, or NaN in
            codes on the CPU. On CUDA a NaN packs as 0.

    Source:
        NumPy's `packbits`; the sign rule sgn(0) = +1 is the library's convention.
    """
    got_uint8 = "uint8 (0/1 bytes are ambiguous, pass bool)"
    _checks.require(codes.dtype != torch.uint8, _OP, "codes", "a float, signed integer or bool tensor", got_uint8)
    _checks.require_dtype(_OP, "codes", codes, (*_checks.FLOATS, *_checks.SIGNED_INTEGERS, torch.bool))
    shaped = codes.dim() >= 1 and codes.shape[-1] > 0
    _checks.require(shaped, _OP, "codes", "of shape (..., bits > 0)", tuple(codes.shape))
    if codes.is_floating_point() and codes.device.type == "cpu":
        _checks.require(not bool(codes.isnan().any()), _OP, "codes", "free of NaN", "NaN")
    return pack_bits(codes if codes.dtype == torch.bool else codes >= 0)


def pack_bits(bits: Tensor) -> Tensor:
    """Packs bool (..., K) into uint8 (..., ceil(K / 8))."""
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -bits.shape[-1] % 8))
    weights = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    return (padded.view(*bits.shape[:-1], -(-bits.shape[-1] // 8), 8) * weights).sum(-1, dtype=torch.uint8)
