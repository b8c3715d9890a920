# SPDX-License-Identifier: Apache-2.0
"""order_aware_triplet: the rank-weighted loss of all triplets, and its gradient, in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fasthash.ops import _autograd, _registration
from fasthash.types import REDUCTIONS, TIES, TRIPLET_METHODS, WEIGHTINGS

_OP = "order_aware_triplet"


def order_aware_triplet(
    distances: Tensor,
    relation: Tensor,
    anchor_codes: Tensor,
    item_codes: Tensor,
    *,
    margin: float,
    weighting: str = "delta_ap",
    squared: bool = True,
    reduction: str = "mean",
    normalize: bool = True,
    method: str = "auto",
    ties: str = "index",
    gains: Tensor | None = None,
) -> Tensor:
    r"""Hinge loss of all triplets (anchor, positive, negative), weighted by what their swap does to the ranking.

        L = sum of omega_hat * max(0, margin + d_ap - d_an)^e / count,   e = 2 if squared else 1

    The triplets of an anchor are all pairs of one of its positives and one of its negatives. Each anchor ranks its
    items by (Hamming distance of the packed codes, distance rounded to float32, index), and a triplet weighs what a
    swap of p and n in that list changes:

        delta_ap         omega = |delta AP|, the anchor's average precision
        delta_ndcg       omega = g_p |1 / log2(1 + r_p) - 1 / log2(1 + r_n)| / ideal DCG, its NDCG with the gains g
        rank_difference  omega = |1 / r_p - 1 / r_n|
        none             omega = 1

    Divided by its mean over the anchor's triplets it becomes `omega_hat`, so that the loss keeps the scale of an
    unweighted one. Ranks and weights are constants to the gradient, which is therefore `d L / d distances` at fixed
    ranks.

    Loss and gradient come from one pass. Nothing of the size of the triplets is ever stored: memory is that of the
    gradient, and O(M) for each thread. On the CPU the triplets of an anchor with many of them are not looked at one by
    one: weights are differences of a number per item, so a sweep over the items sorted by distance, with moments for
    each Hamming distance, gives the same sums in O(M (log M + sqrt(bits))). 128 anchors against 54,000 items are 34
    billion triplets.

    Args:
        distances: (A, M) distances of anchors to items, float32, float64, bfloat16 or float16, any strides, not empty.
            Half precisions are computed in float32; autocast brings them to float32.
        relation: (A, M) int8: > 0 positive, < 0 negative, 0 neither in a triplet nor in the ranking (as an anchor
            should be to itself).
        anchor_codes: (A, W) uint8 packed codes, as `pack_codes` makes them.
        item_codes: (M, W) uint8 packed codes.
        margin: finite margin in the unit of `distances`. For squared Euclidean distances of ±1 codes, which are four
            times the Hamming distance, `K / 4 + 4` is usual with K bits.
        weighting: `"delta_ap"`, `"delta_ndcg"`, `"rank_difference"`, or `"none"`: every triplet weighs 1 and the codes
            are not looked at.
        squared: square the hinge.
        reduction: `"mean"` divides by the number of triplets of all anchors, `"avg_nonzero"` by the number of those
            with a hinge above 0, `"sum"` by 1.
        normalize: False leaves omega as it is.
        method: on the CPU `"pairs"` goes over all triplets one by one; `"sweep"` does not, wherever that is exact
            (finite distances, a margin above 0); `"auto"` takes the faster one. CUDA has pairs alone.
        ties: items of equal Hamming distance stand in the order (distance, index) with `"index"`, or all at their
            average rank r with `"mean"`. A swap of two of these changes nothing, and the average precision is the sum
            over positives of `(C + (c + 1) / 2) / r / N+`, with C positives nearer than, and c at, the positive's
            distance.
        gains: (A, M) float32, any strides, for `"delta_ndcg"` only: the gain g_p >= 0 of each positive; other entries
            are not looked at. One below 0 counts as 0, and only proportions within a row matter. The ideal DCG has the
            gains in falling order; where all are 0, so are the weights. None gives every positive the gain 1. No
            gradient flows to them.

    Returns:
        () loss, float32 (float64 for float64 distances). 0 with zero gradient where there is no triplet.

    Raises:
        ValueError: an argument is not as described; the text names it, what was expected and what came.
        RuntimeError: on double backward: the kept gradient is a constant, and not the whole of a second derivative.

    Numerics: float32 terms, summed over a few hundred and then in float64; sweeps are in float64 throughout. Against
    float64 at the same ranks, loss and gradient agree within 1e-5 of the sum of the magnitudes of what they add up.
    float64 distances take their ranks from the distances rounded to float32. A NaN distance ranks last in its Hamming
    distance and makes the loss NaN; one with relation 0 does nothing. A gain that is not finite makes it NaN too.
    On one device, results do not depend on the number of threads.

    Source: after Chen, Lai, Geng, Pan, "Improving Deep Binary Embedding Networks by Order-aware Reweighting of
    Triplets", arXiv 1804.06061. That weights follow the rank order of the binary codes, and the squared hinge, are
    theirs. The weights' formulas, their normalisation and the order of ties are this library's own definition.
    """
    try:
        return _loss(
            distances,
            relation,
            anchor_codes,
            item_codes,
            margin,
            _registration.index(_OP, "weighting", weighting, WEIGHTINGS),
            squared,
            _registration.index(_OP, "reduction", reduction, REDUCTIONS),
            normalize,
            _registration.index(_OP, "method", method, TRIPLET_METHODS),
            _registration.index(_OP, "ties", ties, TIES),
            gains,
        )
    except _registration.MISFITS:
        _registration.refuse_kinds(order_aware_triplet, locals())
        raise


@torch.library.register_fake("fasthash::order_aware_triplet")
def _fake(distances: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if distances.dtype == torch.float64 else torch.float32
    return distances.new_empty((), dtype=wide), distances.new_empty(distances.shape, dtype=wide)


_loss = _autograd.loss(_OP)
