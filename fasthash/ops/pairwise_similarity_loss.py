# SPDX-License-Identifier: Apache-2.0
"""pairwise_similarity_loss: a loss over pairs of similar and dissimilar items, and its gradients, in one walk."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fasthash._labels import as_ids
from fasthash.ops import _autograd, _registration
from fasthash.types import PAIR_BALANCES, PAIR_RULES

_OP = "pairwise_similarity_loss"


def pairwise_similarity_loss(
    embeddings: Tensor,
    labels: Tensor,
    items: Tensor | None = None,
    item_labels: Tensor | None = None,
    *,
    rule: str,
    scale: float = 1.0,
    threshold: float = 1.0,
    smallest: float = 1.0,
    balance: str = "none",
    cohesion: float = 1.0,
    normalize: bool = False,
) -> Tensor:
    r"""Weighted mean of what pairs cost by how close they are, and by whether they share a label.

        L = 1/n * sum over i, j of w_ij cost(x_i, y_j, s_ij),   s_ij = 1 where i and j share a label, 0 elsewhere

    Inner products of a tile of pairs, their costs and slopes, and what the slopes add to the gradients are computed
    while the tile is in the cache: no (A, M) matrix exists. Only on the CPU.

    Args:
        embeddings: x, (A, K) float32, float64, bfloat16 or float16, any strides, not empty. Half precisions are
            computed in float32; autocast brings them to float32.
        labels: (A,) class ids of any integer dtype; or (A, C) uint8 packed multi-hot rows, as `pack_codes` makes them
            of a bool matrix, where items share a label that have a bit in common.
        items: y, (M, K) of the same dtype; None compares the embeddings with themselves, none of them with itself.
        item_labels: labels of `items`, of the same kind; given where these are.
        rule: what a pair costs. `"likelihood"`: log(1 + exp(t)) - s t with t = scale <x, y>. `"contrast"`:
            s D / 2 + (1 - s) max(0, threshold - D) / 2 with D = |x - y|^2. `"cauchy"`:
            s log(D / threshold) + log(1 + threshold / D), with D at least `smallest`, below which there is no slope.
            `"cosine_cauchy"`: the same of D = K / 2 (1 - cos(x, y)). `"graded_likelihood"`: with r the cosine of two
            multi-hot rows, threshold (t + K - 2 K r)^2 where r is neither 0 nor 1; else, and with ids, `likelihood`.
        scale: finite factor of the likelihoods.
        threshold: > 0, distance at which the cost changes, or any weight of graded pairs; see `rule`.
        smallest: > 0, smallest distance of the Cauchy rules.
        balance: weights w of n pairs, n1 of them similar and n0 not. `"none"`: 1. `"both"`: n / n1 and n / n0.
            `"similar"`: n / n1 and 1. All 1 where n1 or n0 is 0.
        cohesion: > 0, a further factor on the weight of similar pairs.
        normalize: divide by the sum of all weights, not by n.

    Returns:
        () loss, float32 (float64 for float64 embeddings). 0 with zero gradient where there is no pair.

    Raises:
        ValueError: an argument is not as described; the text names it, what was expected and what came.
        NotImplementedError: tensors on another device.
        RuntimeError: on double backward: the kept gradient is a constant, and not the whole of a second derivative.

    Numerics: terms are float32 (float64 for float64 embeddings) within a few ulp of their largest summand, the loss is
    added up in float64 and agrees with float64 within 1e-5 of itself; gradients within 1e-5 of their largest element.
    Squared distances are |x|^2 + |y|^2 - 2 <x, y>, with the cancellation of this formula. NaN passes to the loss and
    to the gradient of its row. On one machine variant, results do not depend on the number of threads.

    Cost: O(A M K); memory O((A + M) K) for gradients, and A * K for each of at most 32 parts of the items.

    Source: see `losses.DPSHLoss`, `HashNetLoss`, `DSHLoss`, `DCHLoss` and `IDHNLoss`.
    """
    try:
        recorded = torch.is_grad_enabled()
        return _loss(
            embeddings,
            as_ids(labels),
            items,
            as_ids(item_labels),
            _registration.index(_OP, "rule", rule, PAIR_RULES),
            scale,
            threshold,
            smallest,
            _registration.index(_OP, "balance", balance, PAIR_BALANCES),
            cohesion,
            normalize,
            recorded and embeddings.requires_grad,
            recorded and items is not None and items.requires_grad,
        )
    except _registration.MISFITS:
        _registration.refuse_kinds(pairwise_similarity_loss, locals())
        raise


@torch.library.register_fake("fasthash::pairwise_similarity_loss")
def _fake(embeddings: Tensor, labels: Tensor, items: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    wide = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    of_embeddings, of_items = rest[-2:]
    shapes = (
        (),
        (embeddings.shape[0] if of_embeddings else 0, embeddings.shape[1]),
        (items.shape[0] if of_items and items is not None else 0, embeddings.shape[1]),
    )
    loss, of_x, of_y = (embeddings.new_empty(shape, dtype=wide) for shape in shapes)
    return loss, of_x, of_y


_loss = _autograd.loss(_OP, places=(0, 2), devices=("cpu",))
