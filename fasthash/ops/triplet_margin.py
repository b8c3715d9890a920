# SPDX-License-Identifier: Apache-2.0
"""triplet_margin: the hinge of all, semi-hard or hardest triplets, and its gradient, in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fasthash.ops import _autograd, _registration
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
    r"""Triplet loss over a matrix of distances.

        L = sum over triplets (a, p, n) of f(margin + d_ap - d_an) / count,   f(x) = max(0, x)

    Loss and gradient come from one pass, and nothing of the size of the triplets is ever stored: memory is that of the
    gradient, and O(M) for each thread. Time is O(M log M) for each anchor, as the hinges above zero are those of the
    positives behind a negative's place in their order; the smooth form and the swap take time P * N.

    Args:
        distances: (A, M) distances of anchors to items, float32, float64, bfloat16 or float16, any strides, not empty,
            fewer than 2^24 items. Half precisions are computed in float32; autocast brings them to float32.
        relation: (A, M) int8: > 0 positive, < 0 negative, 0 neither (as an anchor should be to itself).
        margin: finite margin in the unit of `distances`.
        mining: which triplets count. `"all"`: every positive of an anchor with every negative of it. `"semi_hard"`:
            every positive with the nearest negative that is farther away than it, or with the farthest negative where
            none is. `"hard"`: the farthest positive with the nearest negative, one triplet for each anchor. Among equal
            distances the first item is taken.
        swap: take the smaller of `d_an` and `d_pn = distances[p, n]`, where equal ones share the gradient. Only with
            `mining="all"` and a square matrix, whose anchors are its items.
        smooth: `f(x) = log(1 + exp(x))`.
        reduction: `"mean"` divides by the number of triplets, `"avg_nonzero"` by the number of those with a value above
            0, which every smooth value is, `"sum"` by 1.

    Returns:
        () loss, float32 (float64 for float64 distances). 0 with zero gradient where there is no triplet.

    Raises:
        ValueError: an argument is not as described; the text names it, what was expected and what came.
        RuntimeError: on double backward: the kept gradient is a constant, and not the whole of a second derivative.

    Numerics: whether a hinge is above zero is decided in float32 (float64 for float64 distances), with `margin + d_ap`
    rounded once; what is decided is added up in float64. Smooth terms are float32, summed over at most 256 positives
    and then in float64; they agree with float64 within 1e-5 of the sum of their magnitudes. A NaN or infinite distance
    of a positive or a negative makes the loss NaN, and the gradients of all positives and negatives of that anchor,
    provided that it has both; one with relation 0 does nothing. On one device, results do not depend on the number of
    threads.

    Source: the hinge over all triplets, Weinberger and Saul, JMLR 10 (2009); semi-hard negatives, Schroff,
    Kalenichenko, Philbin, "FaceNet", CVPR 2015, in the form of TensorFlow Addons and sentence-transformers; the hardest
    ones and the smooth form, Hermans, Beyer, Leibe, "In Defense of the Triplet Loss", arXiv 1703.07737; the swap,
    Balntas, Riba, Ponsa, Mikolajczyk, BMVC 2016.
    """
    try:
        return _loss(
            distances,
            relation,
            margin,
            _registration.index(_OP, "mining", mining, MININGS),
            swap,
            smooth,
            _registration.index(_OP, "reduction", reduction, REDUCTIONS),
        )
    except _registration.MISFITS:
        _registration.refuse_kinds(triplet_margin, locals())
        raise


@torch.library.register_fake("fasthash::triplet_margin")
def _fake(distances: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if distances.dtype == torch.float64 else torch.float32
    return distances.new_empty((), dtype=wide), distances.new_empty(distances.shape, dtype=wide)


_loss = _autograd.loss(_OP)
