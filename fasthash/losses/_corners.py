# SPDX-License-Identifier: Apache-2.0
"""How far embeddings are from the corners of a cube: quantization penalties that are added to a class term."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fasthash.losses._sums import total
from fasthash.reference.class_softmax import corner_penalty as penalty


class Corners(NamedTuple):
    """Weights of what is summed over all elements x, with the gap `g = |x| - 1`.

    Attributes:
        l1: of |g|.
        l2: of g^2.
        cubic: of |g|^3.
        outside: of max(0, |x| - edge).
        edge: half the side of the cube that `outside` keeps to.
    """

    l1: float = 0.0
    l2: float = 0.0
    cubic: float = 0.0
    outside: float = 0.0
    edge: float = 1.0


def corner_penalty(values: Tensor, corners: Corners) -> Tensor:
    """The weighted sum () over all elements of (B, K) values, in plain PyTorch."""
    return penalty(values, *corners)


def penalty_and_slope(values: Tensor, corners: Corners) -> tuple[Tensor, Tensor]:
    """The same sum, and its derivative (B, K), in the fewest operators; at least one weight is not 0."""
    size = values.abs()
    gap = size - 1
    sums: list[Tensor] = []
    slopes: list[Tensor] = []
    if corners.l1:
        sums.append(torch.linalg.vector_norm(gap, 1, dim=1).sum() * corners.l1)
        slopes.append(gap.sign().mul_(corners.l1))
    if corners.l2:
        sums.append(total(gap.square()) * corners.l2)
        slopes.append(gap * (2 * corners.l2))
    if corners.cubic:
        signed = gap * gap.abs()
        sums.append(total(signed * gap) * corners.cubic)
        slopes.append(signed.mul_(3 * corners.cubic))
    if corners.outside:
        beyond = size.sub_(corners.edge).relu_()
        sums.append(total(beyond) * corners.outside)
        slopes.append(beyond.sign_().mul_(corners.outside))
    slope = slopes[0]
    for other in slopes[1:]:
        slope.add_(other)
    return sum(sums[1:], sums[0]), slope.mul_(values.sign())
