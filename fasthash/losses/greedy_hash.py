# SPDX-License-Identifier: Apache-2.0
"""GreedyHash: a classifier on signs, with a straight-through gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fasthash import _checks
from fasthash.losses._class_level import row_factors
from fasthash.losses._class_softmax import SoftmaxRule
from fasthash.losses._corners import Corners, corner_penalty
from fasthash.losses.softmax import ClassSoftmaxLoss
from fasthash.nn.straight_through import straight_through_sign


class GreedyHashLoss(ClassSoftmaxLoss):
    """Cross-entropy of a linear classifier on the binary codes, and a cubic penalty, for logits z (no tanh).

        b = sgn(z) forward, the identity backward;   L = CE(W b, y) + penalty_weight * mean of ||z| - 1|^3

    Labels of multi-hot rows are learned one by one: in place of CE the mean over all B x C entries of the binary
    cross-entropy of `W b`. The penalty is a mean over all B x K elements, whatever a miner's weights.

    Args:
        num_classes: C.
        embedding_size: K.
        penalty_weight: of the cubic term; the release has 0.1 for CIFAR-10, 1 for ImageNet.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.

    Attributes:
        weight: (C, K) parameter W, without a bias; it goes to the optimizer.

    Raises:
        ValueError: `penalty_weight` is not a finite number >= 0; in the call, what `ClassLevelLoss.forward` refuses.

    Source: GreedyHash (Su et al., NeurIPS 2018, the authors' released code); binary cross-entropy for multi-hot rows is
    this library's own.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        penalty_weight: float = 0.1,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "penalty_weight", penalty_weight, nonnegative=True)
        self.penalty_weight = penalty_weight
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_size))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.rule = SoftmaxRule(binary=True)

    def _classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        return self.weight.to(dtype), None

    def _shows_bad_values(self) -> bool:
        return self.penalty_weight != 0  # the sign of an infinite logit is a number

    def _corners(self, embeddings: Tensor) -> Corners | None:
        return Corners(cubic=self.penalty_weight / embeddings.numel()) if self.penalty_weight else None

    def _loss(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        if labels.dim() == 1:
            return self._class_term(embeddings, labels, weights)
        loss = self._binary_term(embeddings, labels, weights)
        corners = self._corners(embeddings)
        return loss if corners is None else loss + corner_penalty(embeddings, corners)

    def _binary_term(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        dtype = embeddings.dtype
        scores = straight_through_sign(embeddings) @ self.weight.to(dtype).T
        targets = (labels > 0).to(dtype)
        rows = functional.binary_cross_entropy_with_logits(scores, targets, reduction="none").mean(1)
        factors = row_factors(weights, None, dtype)
        return rows.mean() if factors is None else (rows * factors).sum()
