# SPDX-License-Identifier: Apache-2.0
"""Histograms that can be differentiated: a distance between two bin centres is shared by both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_ONE = 2.0**40  # a whole item in fixed point: sums are exact up to 2**23 items, and the same in any order


def soft_histogram(
    positions: Tensor, bins: int, *, kinds: Tensor | None = None, weights: Tensor | None = None, backend: str = "fused"
) -> Tensor:
    """Shares of each row's items at the centres 0, 1, ..., bins, by the triangular kernel `max(0, 1 - |x - l|)`.

    Positions outside of [0, bins] count as the end they are beyond, with the slope just inside of it. An item touches
    two bins, so `fused` takes O(A M) time and memory, and keeps two bytes an item for backward; `reference` makes all
    A M (bins + 1) shares. Where a position lies exactly on a centre, its slope is the mean of those on both sides.

    Args:
        positions: (A, M) float32 or float64. A NaN makes its whole row NaN.
        bins: L, at least 1.
        kinds: (A, M) int8 of -1, 0 and +1: items of each kind are counted apart. None counts all as one kind.
        weights: (A, M) in [0, 1], what an item counts; None for 1. They get no gradient.
        backend: `fused` or `reference`.

    Returns:
        (A, 3, L + 1), the kinds -1, 0 and +1 in this order, or (A, 1, L + 1) without kinds; float64.
    """
    if backend == "fused":
        found: Tensor = _SoftHistogram.apply(positions, bins, kinds, weights)[0]  # type: ignore[no-untyped-call]
        return found
    inside = positions + (positions.clamp(0, bins) - positions).detach()
    near = inside.unsqueeze(2) - torch.arange(-1, bins + 2, device=positions.device)
    # Differentiating the absolute values as PyTorch does, 0 at 0, gives the mean of both slopes at a centre. At an end
    # the neighbour that is not there continues the line through the last two.
    shares = ((near + 1).abs() + (near - 1).abs()) / 2 - near.abs()
    shares = shares[:, :, 1:-1] + _line(shares[:, :, :1], bins) + _line(shares[:, :, -1:], bins).flip(2)
    if weights is not None:
        shares = shares * weights.unsqueeze(2)
    parts = [shares] if kinds is None else [shares * (kinds == kind).unsqueeze(2) for kind in (-1, 0, 1)]
    return torch.stack([part.sum(1) for part in parts], 1).double()


def _line(share: Tensor, bins: int) -> Tensor:
    """The share (A, M, 1) of a centre before the first of bins + 1, told of the first two."""
    return torch.cat([2 * share, -share, share.new_zeros(*share.shape[:2], bins - 1)], 2)


class _SoftHistogram(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(positions: Tensor, bins: int, kinds: Tensor | None, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        inside = positions.clamp(0, bins)
        lower = inside.long().clamp_(0, bins - 1)  # a NaN may become any integer
        share = inside - lower
        if weights is None:
            upper = (share * _ONE).long()
            rest = int(_ONE) - upper
        else:
            upper = (share * weights * _ONE).long()
            rest = (weights * _ONE).long() - upper
        # Even places are centres, odd ones the intervals between them.
        places = 2 * lower + (share > 0) + (share >= 1)
        tables = 1
        if kinds is not None:
            table, tables = kinds.long() + 1, 3
            lower = lower + table * (bins + 1)
            places = places + table * (2 * bins + 1)
        # Integers add up to the same sum in any order, which atomic additions of floats do not.
        sums = upper.new_zeros(positions.shape[0], tables * (bins + 1))
        sums = sums.scatter_add(1, lower, rest).scatter_add(1, lower + 1, upper)
        nothing = positions.sum(1, keepdim=True, dtype=torch.float64) * 0  # but NaN where the row has one
        found = (sums.double() / _ONE + nothing).reshape(-1, tables, bins + 1)
        return found, places.to(torch.int16 if bins < 4096 else torch.int32)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        positions, _, _, weights = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], weights)
        ctx.dtype = positions.dtype

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        places, weights = ctx.saved_tensors
        slopes = gradients[0].diff(dim=2)
        ends = torch.cat([slopes[:, :, :1], slopes, slopes[:, :, -1:]], 2)
        centers = (ends[:, :, 1:] + ends[:, :, :-1]) / 2
        pairs = torch.stack([centers[:, :, :-1], slopes], 3).flatten(2)
        table = torch.cat([pairs, centers[:, :, -1:]], 2).flatten(1).to(ctx.dtype)
        found = table.gather(1, places.long())
        return found if weights is None else found * weights, None, None, None
