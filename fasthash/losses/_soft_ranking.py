# SPDX-License-Identifier: Apache-2.0
"""Average precision and cumulative gain of rankings that are known as histograms over distances."""

from __future__ import annotations

import torch
from torch import Tensor

_EMPTY = 1e-5  # items: a bin of fewer has the slope of one of as many
_NEAR = 1e-3


def simplified_precision(relevant: Tensor, count: Tensor, positives: Tensor) -> Tensor:
    """`1 / N+ * sum over l of c+_l (C+_{l-1} + C+_l + 1) / (C_{l-1} + C_l + 1)`, as TALR's released code has it.

    Args:
        relevant: (A, L + 1) float64, c+: relevant items in each bin.
        count: (A, L + 1) float64, c: all items.
        positives: (A,) float64, N+, at least 1.

    Returns:
        (A,) float64.
    """
    found = 2 * relevant.cumsum(1) - relevant + 1
    seen = 2 * count.cumsum(1) - count + 1
    return (relevant * found / seen).sum(1) / positives


def expected_precision(relevant: Tensor, count: Tensor, positives: Tensor) -> Tensor:
    """Average precision, expected over the orders of the items within each bin, for counts that need not be integers.

        1 / N+ * sum over l of c+/c * [ (C+_{l-1} + 1 - a (C_{l-1} + 1)) * (psi(C_l + 1) - psi(C_{l-1} + 1)) + a c ]
        a = (c+ - 1) / (c - 1),   psi: digamma

    The sum over the places of a bin of 1 / t is the difference of two digammas, where t need not be an integer. For
    integers this is the exact expectation; `a` alone has a pole at c = 1, the sum has none.

    Arguments and result are those of `simplified_precision`.
    """
    before, found = count.cumsum(1) - count, relevant.cumsum(1) - relevant
    c = count.clamp(min=_EMPTY)
    harmonic = torch.digamma(before + c + 1) - torch.digamma(before + 1)
    # bracket = (found + 1) * harmonic + (c+ - 1) * rest,   rest = (c - (before + 1) * harmonic) / (c - 1)
    near = (c - 1).abs() < _NEAR
    far = torch.where(near, 2.0, c)  # no division by zero in the branch that is not taken
    quotient = (far - (before + 1) * (torch.digamma(before + far + 1) - torch.digamma(before + 1))) / (far - 1)
    slope = 1 - (before + 1) * torch.polygamma(1, before + 2)
    bend = -(before + 1) * torch.polygamma(2, before + 2)
    rest = torch.where(near, slope + bend * (c - 1) / 2, quotient)
    bracket = (found + 1) * harmonic + (relevant - 1) * rest
    return (relevant / c * bracket).sum(1) / positives


def relaxed_gain(gains: Tensor, count: Tensor) -> Tensor:
    """Discounted cumulative gain, every item of a bin at its middle place.

        sum over l of G_l / log2(C_{l-1} + (c_l + 1) / 2 + 1)

    Args:
        gains: (A, L + 1) float64, sum of the items' gains in each bin.
        count: (A, L + 1) float64.

    Returns:
        (A,) float64.
    """
    before = count.cumsum(1) - count
    return (gains / torch.log2(before + count / 2 + 1.5)).sum(1)


def ideal_gain(positives: Tensor, items: int) -> Tensor:
    """(A,) float64, the highest discounted cumulative gain where each of (A,) int64 relevant items has the gain 1."""
    places = torch.arange(items + 1, device=positives.device)
    discounts = 1 / torch.log2(places.double() + 1).clamp(min=1)  # place 0 is none
    total = torch.where(places > 0, discounts, 0.0).cumsum(0)
    return total[positives]


def ideal_graded_gain(gains: Tensor) -> Tensor:
    """(A,) float64, the same for gains (A, M)."""
    places = torch.arange(gains.shape[1], device=gains.device)
    return (gains.double().sort(1, descending=True).values / torch.log2(places.double() + 2)).sum(1)
