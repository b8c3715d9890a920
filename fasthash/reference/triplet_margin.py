# SPDX-License-Identifier: Apache-2.0
"""triplet_margin in plain PyTorch: the definition of the op."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from fasthash import _checks
from fasthash.types import MININGS, REDUCTIONS

_OP = "triplet_margin"


def triplet_margin(
    distances: Tensor,
    relation: Tensor,
    *,
    margin: float,
    mining: str = "all",
    swap: bool = False,
    smooth: bool = False,
    reduction: str = "avg_nonzero",
) -> Tensor:
    """Triplet loss over a matrix of distances: `sum of f(margin + d_ap - d_an) / count`, f(x) = max(0, x).

    Which triplets (anchor, positive, negative) count is what `mining` says: `all`; `semi_hard`, each positive with the
    nearest negative that is farther away than it, or with the farthest negative where none is; `hard`, each anchor's
    farthest positive with its nearest negative. Among equal distances the first item is taken. Memory is O(A * M^2)
    for `all`.

    Args:
        distances: (A, M) float32, float64, bfloat16 or float16; half precisions are computed in float32.
        relation: (A, M) int8: > 0 positive, < 0 negative, 0 neither.
        margin: finite margin in the unit of `distances`.
        mining: `all`, `semi_hard` or `hard`.
        swap: take the smaller of `d_an` and `d_pn = distances[p, n]`; with `all` and a square matrix only.
        smooth: `f(x) = log(1 + exp(x))`.
        reduction: `mean` divides by the number of triplets, `avg_nonzero` by those with a value above 0, which every
            smooth value is, `sum` by 1.

    Returns:
        () float32, or float64 for float64 distances. Zero with zero gradient where there is no triplet. A NaN or
        infinite distance of a positive or a negative makes the loss and the gradients of the anchor's positives and
        negatives NaN, provided that it has both.

    Raises:
        ValueError: wrong dtype, shape, device or option, or an empty batch.

    Source:
        Weinberger and Saul, JMLR 10 (2009), for the hinge over all triplets; Schroff et al., "FaceNet", CVPR 2015, for
        semi-hard negatives; Hermans et al., arXiv 1703.07737, for the hardest ones and the smooth form; Balntas et al.,
        BMVC 2016, for the swap.
    """
    _check(distances, relation)
    _checks.require_finite_number(_OP, "margin", margin)
    _checks.require_choice(_OP, "mining", mining, MININGS)
    _checks.require(not swap or mining == "all", _OP, "swap", "False where mining is not all", swap)
    square = distances.shape[0] == distances.shape[1]
    _checks.require(not swap or square, _OP, "swap", "False where distances are not square", swap)
    _checks.require_choice(_OP, "reduction", reduction, REDUCTIONS)
    if distances.dtype != torch.float64:
        distances = distances.float()
    positive, negative = relation > 0, relation < 0
    both = positive.any(1) & negative.any(1)
    known = torch.where(relation != 0, distances, 0.0)
    undefined = both & ~known.detach().isfinite().all(1)
    finite = torch.where(undefined.unsqueeze(1), 0.0, known)
    if mining == "all":
        x, valid = _all(finite, distances, positive & ~undefined.unsqueeze(1), negative, margin, swap)
        triplets = (positive.sum(1) * negative.sum(1)).sum()
    elif mining == "semi_hard":
        x, valid = _semi_hard(finite, positive & both.unsqueeze(1), negative, margin)
        triplets = valid.sum()
    else:
        x, valid = _hard(finite, positive, negative, margin), both
        triplets = valid.sum()
    values = torch.where(valid, softplus(x, threshold=80.0) if smooth else torch.relu(x), 0.0)
    divisor = triplets
    if reduction == "sum":
        divisor = torch.ones_like(triplets)
    elif reduction == "avg_nonzero" and not smooth:
        divisor = (values.detach() > 0).sum()
    poison = torch.where(undefined, math.nan, 0.0).to(distances.dtype).unsqueeze(1)
    return (values.sum() + (known * poison).sum()) / divisor.clamp(min=1)


def _check(distances: Tensor, relation: Tensor) -> None:
    _checks.require_dtype(_OP, "distances", distances, _checks.FLOATS)
    shaped = distances.dim() == 2 and distances.numel() > 0
    _checks.require(shaped, _OP, "distances", "of shape (anchors, items) and not empty", tuple(distances.shape))
    _checks.require_dtype(_OP, "relation", relation, (torch.int8,))
    like = f"of shape {tuple(distances.shape)} like distances"
    _checks.require(relation.shape == distances.shape, _OP, "relation", like, tuple(relation.shape))
    _checks.require_same_device(_OP, "relation", relation, distances.device)


def _all(
    finite: Tensor, distances: Tensor, positive: Tensor, negative: Tensor, margin: float, swap: bool
) -> tuple[Tensor, Tensor]:
    """(A, M, M) margin + d_ap - d_an, and which of them are triplets."""
    to_negative = finite.unsqueeze(1)
    if swap:
        to_negative = torch.minimum(to_negative, distances.unsqueeze(0))
    return margin + finite.unsqueeze(2) - to_negative, positive.unsqueeze(2) & negative.unsqueeze(1)


def _semi_hard(finite: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """(A, M) margin + d_ap - d_an for each positive, and which items are positives."""
    fixed = finite.detach()
    ordered, order = torch.where(negative, fixed, math.inf).sort(dim=1, stable=True)
    place = torch.searchsorted(ordered, fixed.contiguous(), right=True)
    nearest = order.gather(1, place.clamp(max=order.shape[1] - 1))
    farthest = torch.where(negative, fixed, -math.inf).argmax(dim=1, keepdim=True)
    chosen = torch.where(place < negative.sum(1, keepdim=True), nearest, farthest)
    return margin + (finite - finite.gather(1, chosen)), positive


def _hard(finite: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """(A,) margin + d_ap - d_an of the farthest positive and the nearest negative."""
    fixed = finite.detach()
    farthest = torch.where(positive, fixed, -math.inf).argmax(dim=1, keepdim=True)
    nearest = torch.where(negative, fixed, math.inf).argmin(dim=1, keepdim=True)
    return margin + (finite.gather(1, farthest) - finite.gather(1, nearest)).squeeze(1)
