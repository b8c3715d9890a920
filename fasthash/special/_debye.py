# SPDX-License-Identifier: Apache-2.0
"""Coefficients of the uniform asymptotic expansion of I_v (Debye's polynomials, DLMF 10.41.10)."""

from __future__ import annotations

from fractions import Fraction

TERMS = 19


def coefficients() -> list[list[float]]:
    """Row k holds w_k, where `u_k(t) = t^k w_k(t^2)`: (TERMS, TERMS), lowest power first, rounded from exact fractions.

    `u_0 = 1` and `u_{k+1}(t) = t^2 (1 - t^2) / 2 * u_k'(t) + 1/8 * integral from 0 to t of (1 - 5 s^2) u_k(s) ds`.
    """
    rows: list[list[float]] = []
    polynomial = {0: Fraction(1)}  # power of t -> coefficient
    for k in range(TERMS):
        row = [0.0] * TERMS
        for power, factor in polynomial.items():
            row[(power - k) // 2] = float(factor)
        rows.append(row)
        polynomial = _next(polynomial)
    return rows


def _next(polynomial: dict[int, Fraction]) -> dict[int, Fraction]:
    following: dict[int, Fraction] = {}
    for power, factor in polynomial.items():
        low = factor * power / 2 + factor / (8 * (power + 1))
        high = -factor * power / 2 - 5 * factor / (8 * (power + 3))
        following[power + 1] = following.get(power + 1, Fraction(0)) + low
        following[power + 3] = following.get(power + 3, Fraction(0)) + high
    return following
