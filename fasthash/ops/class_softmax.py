# SPDX-License-Identifier: Apache-2.0
"""class_softmax: cross-entropy over classes and all its gradients in one call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fasthash.ops import _autograd, _registration

_OP = "class_softmax"


def class_softmax(
    embeddings: Tensor,
    weights: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    factors: Tensor | None = None,
    *,
    scale: float = 1.0,
    normalize_embeddings: bool = False,
    normalize_weights: bool = False,
    binary: bool = False,
    margin: float = 0.0,
    angular: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    cubic: float = 0.0,
    outside: float = 0.0,
    edge: float = 1.0,
) -> Tensor:
    r"""Cross-entropy of a softmax over classes, and how far embeddings are from the corners of a cube.

        z_ic = scale * (x_i·w_c - margin [c = y_i]) + b_c
        L    = sum over i of f_i * (-log softmax(z_i)_{y_i})
             + sum over i, k of (l1 |g| + l2 g^2 + cubic |g|^3 + outside max(0, |x_ik| - edge)),   g = |x_ik| - 1

    Loss and gradients take one walk over rows while logits are in the cache. Only on the CPU.

    Args:
        embeddings: x, (B, K) float32, any strides, not empty.
        weights: w, (C, K) float32, any strides, one row for each class.
        targets: y, (B,) int64 class ids in 0..C-1.
        bias: b, (C,) float32 or None.
        factors: f, (B,) float32; None for 1 / B. They get no gradient.
        scale: a finite number > 0.
        normalize_embeddings: divide the embeddings by their length in the products. A row of zeros has products 0 and
            gradient 0.
        normalize_weights: the same of the class rows.
        binary: products with the signs of the embeddings, sgn(0) = +1; the gradient is that of the identity. Not
            together with `normalize_embeddings`.
        margin: a finite number, in units of the product.
        angular: the target's product becomes `cos(arccos(x·w) + margin)` in place of `x·w - margin`; without a bias.
        l1: >= 0; this and the next three are weights of the penalty, which always looks at x as it was given.
        l2: >= 0.
        cubic: >= 0.
        outside: >= 0.
        edge: >= 0, half the side of the cube.

    Returns:
        () float32 loss, with gradients for embeddings, weights and bias.

    Raises:
        ValueError: an argument is not as described; the text names it, what was expected and what came.
        NotImplementedError: tensors on another device.
        RuntimeError: on double backward: the kept gradients are constants, and not the whole of a second derivative.

    Numerics: products and exponentials in float32, the losses of rows and their sum in float64. The target is left out
    of the sum of exponentials: where it has nearly all of the probability, loss `log1p(s)` and residual `-s / (1 + s)`
    keep their relative accuracy, with s the share of all others, down to 1e-38. NaN and infinite embeddings make the
    loss NaN. On one machine variant, results do not depend on the number of threads.

    Cost: O(B C K); memory O(B C + (B + C) K).

    Source: a softmax over classes is common practice; see `losses.CosFaceLoss`, `OrthoHashLoss`, `DCWHLoss`,
    `GreedyHashLoss`, `DDHLoss` and `VonMisesFisherLoss` for what the options stand for.
    """
    try:
        if binary and normalize_embeddings:
            raise ValueError(f"{_OP}: binary must be False where normalize_embeddings is True, got True")
        recorded = torch.is_grad_enabled()
        return _loss(
            embeddings,
            weights,
            targets,
            bias,
            factors,
            scale,
            2 * binary + normalize_embeddings,
            normalize_weights,
            margin,
            angular,
            l1,
            l2,
            cubic,
            outside,
            edge,
            recorded and embeddings.requires_grad,
            recorded and weights.requires_grad,
            recorded and bias is not None and bias.requires_grad,
        )
    except _registration.MISFITS:
        _registration.refuse_kinds(class_softmax, locals())
        raise


@torch.library.register_fake("fasthash::class_softmax")
def _fake(embeddings: Tensor, weights: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    of_embeddings, of_weights, of_bias = rest[-3:]
    bits, classes = embeddings.shape[1], weights.shape[0]
    return (
        embeddings.new_empty(()),
        embeddings.new_empty((embeddings.shape[0] if of_embeddings else 0, bits)),
        embeddings.new_empty((classes if of_weights else 0, bits)),
        embeddings.new_empty(classes if of_bias else 0),
    )


_loss = _autograd.loss(_OP, places=(0, 1, 3), devices=("cpu",))
