# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy of a softmax over classes: logits, loss and gradient without an autograd graph in between."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fasthash import ops
from fasthash._autocast import without_autocast
from fasthash.losses._corners import Corners, corner_penalty, penalty_and_slope
from fasthash.nn.straight_through import signs, straight_through_sign
from fasthash.reference.class_softmax import COSINE_EDGE, unit_rows

BACKENDS = ("fused", "reference")

_SMALL = 1 << 15  # elements of (B, C) up to which a plain softmax is left to PyTorch: a Function in Python costs more
_NOTHING = -(1 << 62)  # no id: cross-entropy would silently leave out -100


class SoftmaxRule(NamedTuple):
    """How logits come from embeddings x (B, K) and class rows w (C, K): `scale * x·w + bias`, less the margin.

    Attributes:
        scale: factor of the products.
        normalize_embeddings: divide the embeddings by their length.
        normalize_weights: divide the class rows by their length.
        margin: what the target's logit loses, in units of the product: `x·w - margin`, or `cos(arccos(x·w) + margin)`.
        angular: the second of the two.
        binary: take the signs of the embeddings, sgn(0) = +1; the gradient is that of the identity.
    """

    scale: float = 1.0
    normalize_embeddings: bool = False
    normalize_weights: bool = False
    margin: float = 0.0
    angular: bool = False
    binary: bool = False


def class_softmax(
    embeddings: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    factors: Tensor | None,
    rule: SoftmaxRule,
    backend: str,
    corners: Corners | None = None,
) -> Tensor:
    """The loss () `sum over i of f_i * (-sum over c of t_ic log softmax(logits_i)_c)`, and a penalty of x besides.

    Args:
        embeddings: (B, K) float32 or float64. Where normalised, a row of zeros has products and gradient 0.
        weights: (C, K), same dtype.
        bias: (C,), same dtype, or None.
        targets: (B,) int64 ids, or (B, C) rows that sum to 1 (or to 0, where f is 0); margins go to entries > 0.
        factors: (B,) f, or None for 1 / B.
        rule: see `SoftmaxRule`.
        backend: `fused` refuses double backward and `torch.func`; `reference` is plain PyTorch.
        corners: the penalty, not all of it 0, or None.
    """
    if backend == "reference":
        loss = _reference(embeddings, weights, bias, targets, factors, rule)
        return loss if corners is None else loss + corner_penalty(embeddings, corners)
    parts = (embeddings, weights, bias)
    if _is_one_operator(embeddings, targets):
        return ops.class_softmax(
            embeddings,
            weights,
            targets,
            bias,
            factors,
            scale=rule.scale,
            normalize_embeddings=rule.normalize_embeddings,
            normalize_weights=rule.normalize_weights,
            binary=rule.binary,
            margin=rule.margin,
            angular=rule.angular,
            **(corners or Corners())._asdict(),
        )
    plain = not (rule.normalize_embeddings or rule.normalize_weights or rule.margin or rule.binary or corners)
    if plain and factors is None and targets.dim() == 1 and embeddings.shape[0] * weights.shape[0] <= _SMALL:
        logits = _products(embeddings, weights, bias, rule.scale)
        return functional.cross_entropy(logits, targets, ignore_index=_NOTHING)
    needed = torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in parts)
    fused: Tensor = _ClassSoftmax.apply(  # type: ignore[no-untyped-call]
        *parts, targets, factors, rule, corners, needed
    )
    return fused


def _is_one_operator(embeddings: Tensor, targets: Tensor) -> bool:
    """Whether `ops.class_softmax` computes it; a compiler fuses what it can look into."""
    return (
        embeddings.dtype == torch.float32
        and embeddings.device.type == "cpu"
        and targets.dim() == 1
        and not torch.compiler.is_compiling()
    )


def class_logits(embeddings: Tensor, weights: Tensor, bias: Tensor | None, rule: SoftmaxRule) -> Tensor:
    """(B, C) logits without a margin, differentiable."""
    x = straight_through_sign(embeddings) if rule.binary else embeddings
    x = unit_rows(x) if rule.normalize_embeddings else x
    w = unit_rows(weights) if rule.normalize_weights else weights
    logits = rule.scale * (x @ w.T)
    return logits if bias is None else logits + bias


def _reference(
    embeddings: Tensor, weights: Tensor, bias: Tensor | None, targets: Tensor, factors: Tensor | None, rule: SoftmaxRule
) -> Tensor:
    logits = class_logits(embeddings, weights, bias, rule)
    soft = targets if targets.dim() == 2 else _one_hot(targets, weights.shape[0], logits.dtype)
    if rule.angular and rule.margin:
        angle = torch.arccos((logits / rule.scale).clamp(-COSINE_EDGE, COSINE_EDGE))
        logits = torch.where(soft > 0, rule.scale * torch.cos(angle + rule.margin), logits)
    elif rule.margin:
        logits = torch.where(soft > 0, logits - rule.scale * rule.margin, logits)
    rows = -(soft * torch.log_softmax(logits, 1)).sum(1)
    return rows.mean() if factors is None else (factors * rows).sum()


def _one_hot(ids: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    return (ids.unsqueeze(1) == torch.arange(classes, device=ids.device)).to(dtype)


def _products(x: Tensor, w: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    if bias is not None:
        return torch.addmm(bias, x, w.T, alpha=scale)
    return x @ w.T if scale == 1 else (x * scale) @ w.T


class _ClassSoftmax(torch.autograd.Function):
    """Keeps one (B, C) matrix for backward, the softmax less the target, and nothing of that size besides."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        weights: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        factors: Tensor | None,
        rule: SoftmaxRule,
        corners: Corners | None,
        needed: bool,
    ) -> Tensor:
        x = signs(embeddings) if rule.binary else embeddings
        x, shrink_x = _direction(x) if rule.normalize_embeddings else (x, None)
        w, shrink_w = _direction(weights) if rule.normalize_weights else (weights, None)
        logits = _products(x, w, bias, rule.scale)
        slopes = _subtract_margin(logits, targets, rule) if rule.margin else None
        scores = torch.log_softmax(logits, 1)
        del logits
        loss, pull = _cross_entropy(scores, targets, factors), None
        if corners is not None:
            penalty, pull = penalty_and_slope(embeddings, corners)
            loss.add_(penalty)
        if needed:
            _turn_into_residual(scores, targets, slopes)
            ctx.save_for_backward(x, shrink_x, w, shrink_w, scores, factors, pull, embeddings, weights, bias)
            ctx.scale = rule.scale
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, shrink_x, w, shrink_w, residual, factors, pull, *inputs = ctx.saved_tensors
        (gradient,) = gradients
        with without_autocast(x):
            outer = gradient / x.shape[0] if factors is None else (gradient * factors).unsqueeze(1)
            scaled = outer if ctx.scale == 1 else outer * ctx.scale
            of_x = of_w = of_bias = None
            if ctx.needs_input_grad[0]:
                of_x = _through_direction(residual @ w, x, shrink_x).mul_(scaled)
                if pull is not None:
                    of_x.addcmul_(pull, gradient)
            if ctx.needs_input_grad[1]:
                of_w = _through_direction(residual.T @ (x * scaled), w, shrink_w)
            if ctx.needs_input_grad[2]:
                of_bias = residual.sum(0) * outer if factors is None else (residual * outer).sum(0)
        found = [of_x, of_w, of_bias]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            found = [
                None if each is None else Undifferentiable.apply(each, *inputs)  # type: ignore[no-untyped-call]
                for each in found
            ]
        return *found, None, None, None, None, None


class Undifferentiable(torch.autograd.Function):
    """Passes a gradient on as a function of the inputs that refuses to be differentiated: zeros would be wrong."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *inputs: Tensor | None) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise RuntimeError('double backward of this loss is not defined, use backend="reference"')


def _direction(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of length 1, and what they were multiplied by (rows, 1): 0 for a row of zeros."""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    shrink = lengths.reciprocal_().nan_to_num_(nan=math.nan, posinf=0.0)
    return rows * shrink, shrink


def _through_direction(gradient: Tensor, unit: Tensor, shrink: Tensor | None) -> Tensor:
    """The gradient with respect to rows from that with respect to their directions; as it is without `shrink`."""
    if shrink is None:
        return gradient
    radial = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
    return gradient.addcmul_(unit, radial, value=-1).mul_(shrink)


def _cross_entropy(scores: Tensor, targets: Tensor, factors: Tensor | None) -> Tensor:
    if targets.dim() == 1:
        if factors is None:
            return functional.nll_loss(scores, targets, ignore_index=_NOTHING)
        return torch.dot(functional.nll_loss(scores, targets, ignore_index=_NOTHING, reduction="none"), factors)
    rows = torch.linalg.vecdot(scores, targets)
    return -rows.mean() if factors is None else -torch.dot(rows, factors)


def _subtract_margin(logits: Tensor, targets: Tensor, rule: SoftmaxRule) -> Tensor | None:
    """Takes the margin from the targets' logits in place; for an angular one, returns d new / d old of them."""
    ids = targets.unsqueeze(1) if targets.dim() == 1 else None
    if not rule.angular:
        loss = -rule.scale * rule.margin
        if ids is None:
            logits.add_(targets > 0, alpha=loss)
        else:
            logits.scatter_add_(1, ids, torch.full_like(ids, loss, dtype=logits.dtype))
        return None
    found = (logits if ids is None else logits.gather(1, ids)).div(rule.scale)
    cosines = found.clamp(-COSINE_EDGE, COSINE_EDGE)
    sines = (1 - cosines.square()).sqrt_()
    moved = rule.scale * (cosines * math.cos(rule.margin) - sines * math.sin(rule.margin))
    slopes = torch.where(cosines == found, math.cos(rule.margin) + math.sin(rule.margin) * cosines / sines, 0.0)
    if ids is None:
        logits.copy_(torch.where(targets > 0, moved, logits))
        return torch.where(targets > 0, slopes, 1.0)
    logits.scatter_(1, ids, moved)
    return slopes


def _turn_into_residual(scores: Tensor, targets: Tensor, slopes: Tensor | None) -> None:
    """Log-probabilities (B, C) into `(softmax - target) * slope`, in place."""
    residual = scores.exp_()
    if targets.dim() == 2:
        residual.sub_(targets)
        if slopes is not None:
            residual.mul_(slopes)
        return
    ids = targets.unsqueeze(1)
    if slopes is None:
        residual.scatter_add_(1, ids, torch.full_like(ids, -1, dtype=residual.dtype))
    else:
        residual.scatter_(1, ids, (residual.gather(1, ids) - 1) * slopes)
