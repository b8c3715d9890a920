# SPDX-License-Identifier: Apache-2.0
"""discrete_code_update in plain PyTorch, float64, with all similarities at once: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.reference.label_sums import related_labels
from fasthash.types import DiscreteCodeUpdate

_OP = "discrete_code_update"


def discrete_code_update(
    codes: Tensor,
    relaxed: Tensor,
    labels: Tensor,
    relaxed_labels: Tensor,
    *,
    positions: Tensor | None = None,
    quantization: float = 0.0,
    dissimilar: float | Tensor | None = None,
    sweeps: int = 1,
) -> DiscreteCodeUpdate:
    """Codes of ±1 by discrete cyclic coordinate descent on the asymmetric loss, bit by bit.

    A bit becomes the sign of its sum `Q_k - sum over l != k of v_l G_lk` where that is larger than float32 arithmetic
    can err, `2^ceil(log2(K + 8)) / 2^24 * (sum over l of |G_kl| + |Q_k|)`, and keeps its value otherwise.

    Args:
        codes: (N, K) int8, below zero is -1, all else +1.
        relaxed: (S, K) relaxed codes of the sample.
        labels: (N,) ids or (N, C) uint8 packed multi-hot rows of all items.
        relaxed_labels: (S,) or (S, C), of the sample.
        positions: (S,) int64, which item each sample is; needed where `quantization` is not 0.
        quantization: weight of the distance between a sample's relaxed code and its own code.
        dissimilar: pairs without a common label have the similarity -dissimilar; None makes all similarities sum to 0.
        sweeps: how often to go through all bits.

    Returns:
        `DiscreteCodeUpdate`: codes (N, K) int8 of -1 and +1, changed () int64.

    Raises:
        ValueError: codes that are not int8, labels or positions that do not fit.

    Source:
        Jiang, Li, "Asymmetric Deep Supervised Hashing", AAAI 2018; the rule for bits that rounding might have decided
        is this library's own.
    """
    _checks.require_dtype(_OP, "codes", codes, (torch.int8,))
    _checks.require_dtype(_OP, "relaxed", relaxed, _checks.FLOATS)
    bits = codes.shape[1]
    similarity = similarities(related_labels(_OP, labels, relaxed_labels), dissimilar)
    u = relaxed.float().double()
    target = bits * similarity.T @ u
    if quantization:
        if positions is None:
            raise ValueError(f"{_OP}: positions must be given where quantization is not 0, got None")
        target = target.index_add(0, positions, quantization * u)
    gram = u.T @ u
    error = 2.0 ** (bits + 7).bit_length() / 2**24 * (gram.abs().sum(0) + target.abs())
    v = torch.where(codes < 0, -1.0, 1.0).double()
    for k in list(range(bits)) * sweeps:
        sums = target[:, k] - v @ gram[:, k] + v[:, k] * gram[k, k]
        v[:, k] = torch.where(sums.abs() > error[:, k], sums.sign(), v[:, k])
    updated = v.to(torch.int8)
    return DiscreteCodeUpdate(updated, ((updated < 0) != (codes < 0)).sum())


def similarities(related: Tensor, dissimilar: float | Tensor | None = None) -> Tensor:
    """(S, N) float64: 1 where related, elsewhere -dissimilar; None makes them sum to 0, where not all are related."""
    if dissimilar is None:
        similar = related.sum()
        dissimilar = similar.double() / (related.numel() - similar).clamp(min=1)
    return torch.where(related, 1.0, -torch.as_tensor(dissimilar, dtype=torch.float64, device=related.device))
