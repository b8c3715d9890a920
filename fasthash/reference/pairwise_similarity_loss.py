# SPDX-License-Identifier: Apache-2.0
"""pairwise_similarity_loss in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit
from torch.nn.functional import softplus

from fasthash import _checks
from fasthash.reference.label_sums import related_labels
from fasthash.reference.unpack_codes import unpack_codes
from fasthash.types import PAIR_BALANCES, PAIR_RULES

_OP = "pairwise_similarity_loss"


def pairwise_similarity_loss(
    embeddings: Tensor,
    labels: Tensor,
    items: Tensor | None = None,
    item_labels: Tensor | None = None,
    *,
    rule: str,
    scale: float = 1.0,
    threshold: float = 1.0,
    smallest: float = 1.0,
    balance: str = "none",
    cohesion: float = 1.0,
    normalize: bool = False,
) -> Tensor:
    """Weighted mean of what pairs cost by how close they are, and by whether they share a label.

    Memory is O(A * M).

    Args:
        embeddings: (A, K) float32, float64, bfloat16 or float16; half precisions are computed in float32.
        labels: (A,) ids, or (A, C) uint8 packed multi-hot rows.
        items: (M, K), or None for the embeddings, none with itself.
        item_labels: of the same kind as `labels`; None where items are.
        rule: with s = 1 for similar pairs, `likelihood`: log(1 + exp(t)) - s t, t = scale <x, y>; `contrast`:
            s D / 2 + (1 - s) max(0, threshold - D) / 2, D = |x - y|^2; `cauchy`: s log(D / threshold) +
            log(1 + threshold / D); `cosine_cauchy`: the same of D = K / 2 (1 - cos(x, y));
            `graded_likelihood`: with r the cosine of two multi-hot rows, threshold (t + K - 2 K r)^2 where r is neither
            0 nor 1; else, and with ids, `likelihood`.
        scale: factor of the likelihoods.
        threshold: see `rule`.
        smallest: distances of the Cauchy rules below count as that much.
        balance: `none`; `both`: weights n / n1 of similar pairs and n / n0 of others; `similar`: n / n1 and 1. All 1
            where n1 or n0 is 0.
        cohesion: factor on the weight of similar pairs.
        normalize: divide by the sum of weights.

    Returns:
        () float32, or float64 for float64 embeddings.

    Raises:
        ValueError: a choice that is none of the above, or labels of two kinds.
    """
    _checks.require_choice(_OP, "rule", rule, PAIR_RULES)
    _checks.require_choice(_OP, "balance", balance, PAIR_BALANCES)
    dtype = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    x = embeddings.to(dtype)
    y = x if items is None else items.to(dtype)
    s = related_labels(_OP, labels if item_labels is None else item_labels, labels).to(dtype)
    costs = _costs(x, y, s, rule, scale, threshold, smallest)
    if rule == "graded_likelihood" and labels.dim() == 2:
        grades = _grades(labels, labels if item_labels is None else item_labels).to(dtype)
        graded = (grades > 0) & (grades < 1)
        gap = scale * (x @ y.T) + x.shape[1] * (1 - 2 * grades)
        costs = torch.where(graded, threshold * gap.square(), costs)
    pairs = torch.ones_like(s)
    if items is None:
        pairs = pairs - torch.eye(len(x), dtype=dtype, device=x.device)
    n, n1 = pairs.sum(), (pairs * s).sum()
    mixed = balance != "none" and bool(n1 > 0) and bool(n1 < n)
    heavy = cohesion * (n / n1 if mixed else torch.ones_like(n))
    light = n / (n - n1) if mixed and balance == "both" else torch.ones_like(n)
    weights = pairs * (s * heavy + (1 - s) * light)
    total = weights.sum() if normalize else n
    return (costs * weights).sum() / total.clamp(min=torch.finfo(dtype).tiny)


def _grades(labels: Tensor, item_labels: Tensor) -> Tensor:
    """(A, M) float64 cosines of packed multi-hot rows; 1 where they are the same, 0 where one is empty."""
    rows, others = (unpack_codes(side, 8 * side.shape[1], torch.float64) > 0 for side in (labels, item_labels))
    common = rows.double() @ others.double().T
    squared = rows.sum(1, keepdim=True) * others.sum(1)
    return torch.where(common.square() == squared, common.sign(), common / squared.clamp(min=1).double().sqrt())


def _costs(x: Tensor, y: Tensor, s: Tensor, rule: str, scale: float, threshold: float, smallest: float) -> Tensor:
    if rule in ("likelihood", "graded_likelihood"):
        t = scale * (x @ y.T)
        return softplus(t) - s * t
    if rule == "cosine_cauchy":
        distances = x.shape[1] / 2 * (1 - unit(x) @ unit(y).T)
    else:
        distances = (x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)
    if rule == "contrast":
        return (s * distances + (1 - s) * (threshold - distances).clamp(min=0)) / 2
    distances = distances.clamp(min=smallest)
    return s * (distances / threshold).log() + (threshold / distances).log1p()
