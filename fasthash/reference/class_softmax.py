# SPDX-License-Identifier: Apache-2.0
"""class_softmax in plain PyTorch: the definition of the op."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

COSINE_EDGE = 1 - 1e-7  # cosines of angles stay inside, where arccos has a slope


def class_softmax(
    embeddings: Tensor,
    weights: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    factors: Tensor | None = None,
    *,
    scale: float = 1.0,
    normalize_embeddings: bool = False,
    normalize_weights: bool = False,
    binary: bool = False,
    margin: float = 0.0,
    angular: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    cubic: float = 0.0,
    outside: float = 0.0,
    edge: float = 1.0,
) -> Tensor:
    """Cross-entropy of a softmax over classes, and how far embeddings are from the corners of a cube.

    Args:
        embeddings: x, (B, K), float32 or float64.
        weights: w, (C, K), same dtype.
        targets: (B,) int64 class ids.
        bias: b, (C,), same dtype, or None.
        factors: f, (B,) of the rows' losses, or None for 1 / B.
        scale: of `logits = scale * x·w + b`.
        normalize_embeddings: products of `x / |x|`; a row of zeros stays as it is and has no gradient.
        normalize_weights: products with `w / |w|`.
        binary: products of `sgn(x)`, sgn(0) = +1, with the gradient of the identity.
        margin: what the target's product loses.
        angular: it becomes `cos(arccos(.) + margin)`.
        l1: weight of the sum of |g| over all elements, `g = |x| - 1`.
        l2: of g^2.
        cubic: of |g|^3.
        outside: of `max(0, |x| - edge)`.
        edge: see there.

    Returns:
        () in the dtype of the embeddings.
    """
    x = signs_with_gradient(embeddings) if binary else embeddings
    x = unit_rows(x) if normalize_embeddings else x
    w = unit_rows(weights) if normalize_weights else weights
    products = x @ w.T
    lessened = products - margin
    if angular:
        lessened = torch.cos(torch.arccos(products.clamp(-COSINE_EDGE, COSINE_EDGE)) + margin) if margin else products
    logits = scale * torch.where(functional.one_hot(targets, len(w)).bool(), lessened, products)
    logits = logits if bias is None else logits + bias
    rows = functional.cross_entropy(logits, targets, reduction="none")
    loss = rows.mean() if factors is None else (factors * rows).sum()
    return loss + corner_penalty(embeddings, l1, l2, cubic, outside, edge)


def corner_penalty(values: Tensor, l1: float, l2: float, cubic: float, outside: float, edge: float) -> Tensor:
    """`sum of l1 |g| + l2 g^2 + cubic |g|^3 + outside max(0, |x| - edge)` over all elements x, with `g = |x| - 1`."""
    size = values.abs()
    gap = size - 1
    terms = l1 * gap.abs() + l2 * gap.square() + cubic * gap.abs().pow(3)
    # Summed by rows: PyTorch gives each thread a part of a sum over everything.
    return (terms + outside * (size - edge).relu()).sum(1).sum()


def unit_rows(rows: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays as it is and has no gradient."""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    zero = lengths == 0
    return rows * torch.where(zero, 0.0, 1 / torch.where(zero, 1.0, lengths))


def signs_with_gradient(values: Tensor) -> Tensor:
    """±1, sgn(0) = +1, NaN stays NaN; the gradient is that of the identity."""
    signs = torch.where(values.isnan(), math.nan, torch.where(values >= 0, 1.0, -1.0)).to(values.dtype)
    return signs.detach() + (values - values.detach()).nan_to_num()
