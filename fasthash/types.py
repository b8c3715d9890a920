# SPDX-License-Identifier: Apache-2.0
"""Option words and result types that `fasthash.ops` and `fasthash.reference` share."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

# A word's place is the integer that stands for it in the operators' schemas.
PENALTIES = ("none", "l2", "l1", "log_cosh", "cubic")
AMPLIFIERS = ("none", "magnitude", "wrong_side")
WEIGHTINGS = ("none", "delta_ap")
REDUCTIONS = ("mean", "sum", "avg_nonzero")


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


class HashOutput(NamedTuple):
    """What a hash layer and a hashing network return in training.

    Attributes:
        logits: (B, K) values before the activation.
        codes: (B, K) relaxed codes `tanh(sharpness * logits)`, dtype of the logits.
        penalty: () mean quantization penalty, 0 for `penalty="none"`.
    """

    logits: Tensor
    codes: Tensor
    penalty: Tensor
