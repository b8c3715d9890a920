# SPDX-License-Identifier: Apache-2.0
"""How far embeddings are from the corners of a cube: value and gradient in one Function."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fasthash.losses._class_softmax import Undifferentiable, without_autocast


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


def corner_penalty(values: Tensor, corners: Corners, backend: str) -> Tensor:
    """The weighted sum () over all elements of (B, K) values, float32 or float64."""
    if backend == "reference":
        size = values.abs()
        gap = size - 1
        terms = corners.l1 * gap.abs() + corners.l2 * gap.square() + corners.cubic * gap.abs().pow(3)
        return (terms + corners.outside * (size - corners.edge).relu()).sum()
    needed = torch.is_grad_enabled() and values.requires_grad
    penalty: Tensor = _CornerPenalty.apply(values, corners, needed)  # type: ignore[no-untyped-call]
    return penalty


class _CornerPenalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, corners: Corners, needed: bool) -> Tensor:
        size = values.abs()
        gap = size - 1
        flat = gap.flatten()
        parts: list[Tensor] = []
        slopes: list[Tensor] = []
        if corners.l1:
            parts.append(torch.linalg.vector_norm(flat, 1) * corners.l1)
            slopes.append(gap.sign().mul_(corners.l1))
        if corners.l2:
            parts.append(torch.dot(flat, flat) * corners.l2)
            slopes.append(gap * (2 * corners.l2))
        if corners.cubic:
            signed = gap * gap.abs()
            parts.append(torch.dot(signed.flatten(), flat) * corners.cubic)
            slopes.append(signed.mul_(3 * corners.cubic))
        if corners.outside:
            beyond = (size - corners.edge).relu_()
            parts.append(beyond.sum() * corners.outside)
            slopes.append(beyond.sign_().mul_(corners.outside))
        if needed:
            slope = slopes[0]
            for other in slopes[1:]:
                slope.add_(other)
            ctx.save_for_backward(slope.mul_(values.sign()), values)
        return sum(parts[1:], parts[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        slope, values = ctx.saved_tensors
        with without_autocast(slope):
            found = slope * gradients[0]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            found = Undifferentiable.apply(found, values)  # type: ignore[no-untyped-call]
        return found, None, None
