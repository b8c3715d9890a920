# SPDX-License-Identifier: Apache-2.0
"""Matrices of Euclidean distances that keep one matrix for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fasthash._autocast import without_autocast
from fasthash.losses._inputs import squared_distances

DISTANCES = ("euclidean", "sqeuclidean")


def in_working_dtype(embeddings: Tensor, normalized: bool) -> Tensor:
    """float32 (float64 stays), whatever autocast says, and where `normalized` of length 1; zeros stay."""
    wide = embeddings.to(torch.float64 if embeddings.dtype == torch.float64 else torch.float32)
    return normalize(wide) if normalized else wide


def distance_matrix(a: Tensor, b: Tensor | None, *, squared: bool, backend: str) -> Tensor:
    """(A, M) Euclidean distances, or their squares, of (A, K) and (M, K) in one dtype, or of the former alone.

    Where a distance is 0 its gradient is 0. `backend="reference"` keeps to operations that `torch.func` sees through.
    """
    with without_autocast(a):
        if backend == "fused":
            matrix: Tensor = _DistanceMatrix.apply(a, b, squared)  # type: ignore[no-untyped-call]
            return matrix
        return _root(squared_distances(a, a if b is None else b), squared)


def pair_distances(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor, *, squared: bool) -> Tensor:
    """(T,) Euclidean distances, or their squares, of rows of (A, K) and of (M, K)."""
    return _root((a[rows] - b[columns]).square().sum(1), squared)


def _root(square: Tensor, squared: bool) -> Tensor:
    if squared:
        return square
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


class _DistanceMatrix(torch.autograd.Function):
    """With `w = g / d` (`2 g` for squares, 0 where d = 0): gradients `a * sum_m w - w b` and `b * sum_a w - w^T a`.

    None for b means a: Dynamo refuses the same tensor twice.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None, squared: bool) -> Tensor:
        items = a if b is None else b
        matrix = a.square().sum(1, keepdim=True) + items.square().sum(1)
        matrix.addmm_(a, items.T, alpha=-2).clamp_(min=0)
        ctx.squared = squared
        if squared:
            ctx.save_for_backward(a, b)
            return matrix
        matrix.sqrt_()
        ctx.save_for_backward(a, b, matrix)
        return matrix

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if ctx.squared:
            a, b = ctx.saved_tensors
            weights = grad * 2
        else:
            a, b, matrix = ctx.saved_tensors
            weights = (grad / matrix).masked_fill_(matrix == 0, 0.0)
        if b is None:
            grad_a = a * (weights.sum(1) + weights.sum(0)).unsqueeze(1)
            return grad_a.addmm_(weights, a, alpha=-1).addmm_(weights.T, a, alpha=-1), None, None
        grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_a = (a * weights.sum(1, keepdim=True)).addmm_(weights, b, alpha=-1)
        if ctx.needs_input_grad[1]:
            grad_b = (b * weights.sum(0).unsqueeze(1)).addmm_(weights.T, a, alpha=-1)
        return grad_a, grad_b, None
