# SPDX-License-Identifier: Apache-2.0
"""Rules of pairwise losses: from inner products or squared distances to values and slopes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fasthash.losses._pairs import Rule


def likelihood(scale: float) -> Rule:
    """`softplus(t) - s t` of t = scale * product, and its slope `scale * (sigmoid(t) - s)`."""

    def rule(products: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        scores = products * scale
        values = functional.softplus(scores) - similar * scores
        return values, (scores.sigmoid() - similar) * scale

    return rule


def contrast(margin: float) -> Rule:
    """`s D / 2 + (1 - s) max(0, margin - D) / 2` of squared distances D, and its slope."""

    def rule(distances: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        gap = (margin - distances).clamp(min=0)
        other = 1 - similar
        return (similar * distances + other * gap) / 2, (similar - other * (gap > 0)) / 2

    return rule


def cauchy(gamma: float, smallest: float) -> Rule:
    """`s log(d / gamma) + log(1 + gamma / d)`, cross-entropy of p = gamma / (gamma + d), for d >= smallest."""

    def rule(distances: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        d = distances.clamp(min=smallest)
        values = similar * (d / gamma).log() + (gamma / d).log1p()
        slopes = (similar - gamma / (gamma + d)) / d
        return values, torch.where(distances >= smallest, slopes, torch.zeros_like(slopes))

    return rule


def cosine_cauchy(bits: int, gamma: float, smallest: float) -> Rule:
    """`cauchy` of `d = K / 2 * (1 - product)`, for rows of length 1."""
    inner = cauchy(gamma, smallest)

    def rule(products: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = inner((1 - products) * (bits / 2), similar)
        return values, slopes * (-bits / 2)

    return rule


def graded_likelihood(scale: float, bits: int, squared: float) -> Rule:
    """`likelihood` where s is 0 or 1; else `squared * (t + K - 2 s K)^2`, t = scale * product."""
    hard = likelihood(scale)

    def rule(products: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = hard(products, similar)
        gap = products * scale + (bits - 2 * bits * similar)
        is_hard = (similar == 0) | (similar == 1)
        return (
            torch.where(is_hard, values, gap.square() * squared),
            torch.where(is_hard, slopes, gap * (2 * squared * scale)),
        )

    return rule
