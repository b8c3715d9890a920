# SPDX-License-Identifier: Apache-2.0
"""Sums that are the same on any number of threads."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

_ROW = 1024


def total(values: Tensor) -> Tensor:
    """The sum () of (N,) or (R, C): row by row, then over the rows.

    PyTorch gives each thread a part of a sum over everything, from 32,768 elements on, and so its result depends on
    their number. Sums along rows it does not split.
    """
    if values.dim() == 1:
        values = functional.pad(values, (0, -values.shape[0] % _ROW)).view(-1, _ROW)
    return values.sum(1).sum()
