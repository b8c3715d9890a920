# SPDX-License-Identifier: Apache-2.0
"""pack_codes: signs of codes as bits."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash.ops import _registration


def pack_codes(codes: Tensor) -> Tensor:
    """Packs codes into bytes: bit `j` of a code is bit `7 - j % 8` of byte `j // 8`, the order of `numpy.packbits`.

    NumPy, Faiss, sentence-transformers (`ubinary`), pgvector and Milvus read and write the same bytes.

    Args:
        codes: (..., K) tensor with K > 0, any strides; rows may be absent. A number `x` becomes the bit `x >= 0`, so 0
            and -0.0 give 1; a bool stays itself. Any floating dtype, int8, int16, int32, int64 or bool.

    Returns:
        (..., ceil(K / 8)) uint8 with spare bits zero. It has no gradient.

    Raises:
        ValueError: uint8 (0/1 bytes are ambiguous: pass bool), another dtype, no last dimension or an empty one; and on
            the CPU a NaN, named by its position. On CUDA a NaN packs as 0, since raising would have to wait for the
            device: see `check_finite` of the modules that encode.

    Source: NumPy's `packbits`; that 0 counts as positive is this library's convention.
    """
    try:
        packed: Tensor = torch.ops.fasthash.pack_codes.default(codes)
        return packed
    except _registration.MISFITS:
        _registration.refuse_kinds(pack_codes, locals())
        raise


@torch.library.register_fake("fasthash::pack_codes")
def _fake(codes: Tensor) -> Tensor:
    *leading, bits = codes.shape
    return codes.new_empty((*leading, (bits + 7) // 8), dtype=torch.uint8)


_registration.not_differentiable("pack_codes")
