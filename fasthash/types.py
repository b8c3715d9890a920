# SPDX-License-Identifier: Apache-2.0
"""Option words and result types that `fasthash.ops` and `fasthash.reference` share."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fasthash.packed_database import PackedDatabase

__all__ = [
    "AMPLIFIERS",
    "MININGS",
    "PAIR_BALANCES",
    "PAIR_RULES",
    "PENALTIES",
    "REDUCTIONS",
    "TIES",
    "TRIPLET_METHODS",
    "WEIGHTINGS",
    "DiscreteCodeUpdate",
    "HammingHistogram",
    "HammingRange",
    "HammingTopK",
    "HashOutput",
    "LabelSums",
    "PackedDatabase",
    "TanhQuantizeOutput",
]

# A word's place is the integer that stands for it in the operators' schemas.
PENALTIES = ("none", "l2", "l1", "log_cosh", "cubic")
AMPLIFIERS = ("none", "magnitude", "wrong_side")
MININGS = ("all", "semi_hard", "hard")
PAIR_BALANCES = ("none", "both", "similar")
PAIR_RULES = ("likelihood", "contrast", "cauchy", "cosine_cauchy", "graded_likelihood")
WEIGHTINGS = ("none", "delta_ap", "delta_ndcg", "rank_difference")
TIES = ("index", "mean")
TRIPLET_METHODS = ("auto", "pairs", "sweep")
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
        distances: (Q, k) int32 Hamming distances in bits, ascending; 2147483647 where there is no code left.
        ids: (Q, k) int64 positions in the database, or the ids given; -1 where there is no code left.
    """

    distances: Tensor
    ids: Tensor


class HammingRange(NamedTuple):
    """The codes within a radius of each query, one query after the other, each in the order (distance, id).

    Attributes:
        offsets: (Q + 1,) int64; query q has the places `offsets[q]` up to `offsets[q + 1]`, and the last is the total.
        distances: (total,) int32 Hamming distances in bits, ascending for each query.
        ids: (total,) int64 positions in the database, or the ids given.
    """

    offsets: Tensor
    distances: Tensor
    ids: Tensor


class HammingHistogram(NamedTuple):
    """How many codes of the database lie at each distance 0, 1, ..., K from each query, K = 8 W.

    Attributes:
        total: (Q, K + 1) int64, all codes.
        relevant: (Q, K + 1) int64, those relevant to the query; of shape (0,) where no labels were given.
    """

    total: Tensor
    relevant: Tensor


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


class LabelSums(NamedTuple):
    """What `label_sums` returns.

    Attributes:
        sums: (A, K) float64, sums of the values of related items.
        counts: (A,) int64, how many they are.
    """

    sums: Tensor
    counts: Tensor


class DiscreteCodeUpdate(NamedTuple):
    """What `discrete_code_update` returns.

    Attributes:
        codes: (N, K) int8, -1 and +1.
        changed: () int64, how many entries differ from the codes given.
    """

    codes: Tensor
    changed: Tensor
