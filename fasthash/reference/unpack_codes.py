# SPDX-License-Identifier: Apache-2.0
"""unpack_codes in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks

_OP = "unpack_codes"
_DTYPES = (*_checks.FLOATS, torch.int8, torch.bool)


def unpack_codes(packed: Tensor, bits: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpacks bytes of `pack_codes` into codes of +1 and -1, or True and False for `torch.bool`.

    Args:
        packed: (..., W) uint8 with `W = ceil(bits / 8)`, any strides; spare bits are not looked at.
        bits: code length K >= 1.
        dtype: float16, bfloat16, float32, float64, int8 or bool.

    Returns:
        (..., K) of `dtype`.

    Raises:
        ValueError: wrong dtype, bits < 1, or a width that does not belong to `bits`.

    Source:
        NumPy's `unpackbits`.
    """
    _checks.require_dtype(_OP, "packed", packed, (torch.uint8,))
    _checks.require(bits >= 1, _OP, "bits", ">= 1", bits)
    names = ", ".join(str(allowed).removeprefix("torch.") for allowed in _DTYPES)
    _checks.require(dtype in _DTYPES, _OP, "dtype", f"one of {names}", dtype)
    width = (bits + 7) // 8
    shaped = packed.dim() >= 1 and packed.shape[-1] == width
    _checks.require(shaped, _OP, "packed", f"of shape (..., {width}) for {bits} bits", tuple(packed.shape))
    plain = unpack_bits(packed)[..., :bits]
    return plain.contiguous() if dtype == torch.bool else plain.to(dtype) * 2 - 1


def unpack_bits(packed: Tensor) -> Tensor:
    """Unpacks uint8 (..., W) into bool (..., 8 W), spare bits included."""
    masks = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=packed.device)
    return (packed.unsqueeze(-1) & masks).ne(0).flatten(-2)
