# SPDX-License-Identifier: Apache-2.0
"""Result types that `fasthash.ops` and `fasthash.reference` share."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class TanhQuantizeOutput(NamedTuple):
    """What `tanh_quantize` returns; a part that was not asked for is an empty tensor of shape (0,).

    Attributes:
        codes: (..., K) relaxed codes in [-1, 1], dtype of the logits.
        penalty: () mean quantization penalty, float32 (float64 for float64 logits); empty for `penalty="none"`.
        packed: (..., ceil(K / 8)) uint8, the bits `z >= 0` in `numpy.packbits` order; empty without `pack`.
        saturation: (K,) int64, samples per bit with `|h| > threshold`; empty without `count_saturation`.
    """

    codes: Tensor
    penalty: Tensor
    packed: Tensor
    saturation: Tensor


class HammingTopK(NamedTuple):
    """The nearest codes of each query, in the order (distance, id).

    Attributes:
        distances: (Q, k) int32 Hamming distances in bits, ascending.
        ids: (Q, k) int64 positions in the database, or the ids of an index; -1 marks padding.
    """

    distances: Tensor
    ids: Tensor
