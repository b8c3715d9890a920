# SPDX-License-Identifier: Apache-2.0
"""unpack_codes: bits as codes of +1 and -1."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.ops import _registration


def unpack_codes(packed: Tensor, bits: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpacks bytes of `pack_codes` into codes of +1 and -1, or of True and False for `torch.bool`.

    Args:
        packed: (..., W) uint8 tensor with `W = ceil(bits / 8)`, any strides; spare bits are not looked at.
        bits: code length K >= 1.
        dtype: float16, bfloat16, float32, float64, int8 or bool.

    Returns:
        (..., K) tensor of `dtype`. It has no gradient, as bytes have none.

    Raises:
        ValueError: packed is not uint8, bits < 1, another dtype, or a width that does not belong to `bits`.

    Source: NumPy's `unpackbits`.
    """
    try:
        codes: Tensor = torch.ops.fasthash.unpack_codes.default(packed, bits, dtype)
        return codes
    except _registration.MISFITS:
        _registration.refuse_kinds(unpack_codes, locals())
        raise


@torch.library.register_fake("fasthash::unpack_codes")
def _fake(packed: Tensor, bits: int, dtype: torch.dtype) -> Tensor:
    return packed.new_empty((*packed.shape[:-1], bits), dtype=dtype)


_registration.not_differentiable("unpack_codes")
