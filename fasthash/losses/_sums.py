# SPDX-License-Identifier: Apache-2.0
"""Sums that are the same on any number of threads."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

_ROW = 1024
_PIECE = 512  # rows of a product that no library for matrices gives to several threads


def total(values: Tensor) -> Tensor:
    """The sum () of (N,) or (R, C): row by row, then over the rows.

    PyTorch gives each thread a part of a sum over everything, from 32,768 elements on, and so its result depends on
    their number. Sums along rows it does not split.
    """
    if values.dim() == 1:
        values = functional.pad(values, (0, -values.shape[0] % _ROW)).view(-1, _ROW)
    return values.sum(1).sum()


def gram(rows: Tensor) -> Tensor:
    """`rows^T rows` (K, K) of (N, K): a product for each piece of rows, then their sum.

    On some processors a matrix product gives each thread a part of a sum over some 1,000 rows or more.
    """
    if rows.shape[0] <= _PIECE or rows.device.type != "cpu":
        return rows.T @ rows
    pieces = functional.pad(rows, (0, 0, 0, -rows.shape[0] % _PIECE)).view(-1, _PIECE, rows.shape[1])
    return (pieces.mT @ pieces).sum(0)
