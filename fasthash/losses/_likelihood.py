# SPDX-License-Identifier: Apache-2.0
"""Rules of pairwise losses: from inner products or squared distances to values and slopes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fasthash.losses._pairs import Rule


def likelihood(scale: float) -> Rule:
    """`softplus(t) - s t` of t = scale * product; slope `sigmoid(t) - s`."""

    def values(scores: Tensor, similar: Tensor) -> Tensor:
        return functional.softplus(scores) - similar * scores

    def with_slopes(scores: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        costs = functional.softplus(scores).addcmul_(similar, scores, value=-1)
        return costs, scores.sigmoid_().sub_(similar)

    return Rule(scale, values, with_slopes, "likelihood")


def contrast(margin: float) -> Rule:
    """`s D / 2 + (1 - s) max(0, margin - D) / 2` of squared distances D; slope `(s - (1 - s) [D < margin]) / 2`."""

    def values(distances: Tensor, similar: Tensor) -> Tensor:
        return (similar * distances + (1 - similar) * (margin - distances).clamp(min=0)) / 2

    def with_slopes(distances: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        gap = (margin - distances).clamp_(min=0)
        other = 1 - similar
        slopes = gap.sign().mul_(other).neg_().add_(similar).mul_(0.5)
        return gap.mul_(other).addcmul_(similar, distances).mul_(0.5), slopes

    return Rule(1.0, values, with_slopes, "contrast", margin)


def cauchy(gamma: float, smallest: float) -> Rule:
    """`s log(d / gamma) + log(1 + gamma / d)`, cross-entropy of p = gamma / (gamma + d), of d >= smallest.

    Slope `(s - p) / d`, and 0 below.
    """

    def values(distances: Tensor, similar: Tensor) -> Tensor:
        d = distances.clamp(min=smallest)
        return similar * (d / gamma).log() + (gamma / d).log1p()

    def with_slopes(distances: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        d = distances.clamp(min=smallest)
        costs = (gamma / d).log1p_().addcmul_(similar, (d / gamma).log_())
        slopes = (similar - gamma / (gamma + d)).div_(d)
        return costs, slopes.mul_(distances >= smallest)

    return Rule(1.0, values, with_slopes, "cauchy", gamma, smallest)


def cosine_cauchy(bits: int, gamma: float, smallest: float) -> Rule:
    """`cauchy` of `d = K / 2 * (1 - product)`, for rows of length 1."""
    inner = cauchy(gamma, smallest)
    half = bits / 2

    def values(products: Tensor, similar: Tensor) -> Tensor:
        return inner.values(half - half * products, similar)

    def with_slopes(products: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        costs, slopes = inner.with_slopes(products.mul_(-half).add_(half), similar)
        return costs, slopes.mul_(-half)

    return Rule(1.0, values, with_slopes, "cosine_cauchy", gamma, smallest)


def graded_likelihood(scale: float, bits: int, squared: float) -> Rule:
    """`likelihood` where s is 0 or 1; else `squared * (t + K - 2 s K)^2`, t = scale * product."""
    hard = likelihood(scale)

    def values(scores: Tensor, similar: Tensor) -> Tensor:
        gap = scores + (bits - 2 * bits * similar)
        return torch.where(_is_hard(similar), hard.values(scores, similar), gap.square() * squared)

    def with_slopes(scores: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        gap = scores + (bits - 2 * bits * similar)
        is_hard = _is_hard(similar)
        costs, slopes = hard.with_slopes(scores, similar)
        return (
            torch.where(is_hard, costs, gap.square() * squared),
            torch.where(is_hard, slopes, gap * (2 * squared)),
        )

    return Rule(scale, values, with_slopes, "graded_likelihood", squared)


def _is_hard(similar: Tensor) -> Tensor:
    return (similar == 0) | (similar == 1)
