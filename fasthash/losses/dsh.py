# SPDX-License-Identifier: Apache-2.0
"""DSH: a contrastive loss of squared distances."""

from __future__ import annotations

from torch import Tensor

from fasthash import _checks
from fasthash.losses._likelihood import contrast
from fasthash.losses._margin import HasMargin
from fasthash.losses._pairs import PairwiseLoss, Rule


class DSHLoss(HasMargin, PairwiseLoss):
    """Contrastive loss of logits u, and their distance from ±1.

        L = mean over i, j of (s_ij D_ij / 2 + (1 - s_ij) max(0, margin - D_ij) / 2)
            + quantization * (mean over i of ||u_i| - 1|_1 + mean over j of ||u_j| - 1|_1),   D_ij = |u_i - u_j|^2

    Args:
        margin: None means 2 K.
        quantization: weight of the distances from ±1 of anchors and items.
        check_finite, gather, backend: see `DPSHLoss`.

    Raises:
        ValueError: `margin` not a finite number > 0, `quantization` not one >= 0, another `backend`; what the call
            refuses is listed at `forward`.

    Source: Liu, Wang, Shan, Chen, "Deep Supervised Hashing for Fast Image Retrieval", CVPR 2016, with margin and
    weight of the authors' released code (confirmed from it).

    Example:
        >>> loss = DSHLoss()(layer(features).logits, labels)
    """

    _of_distances = True
    _margin_is_positive = True

    def __init__(
        self,
        margin: float | None = None,
        quantization: float = 0.01,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(check_finite, gather, backend)
        self.margin = None
        if margin is not None:
            self.set_margin(margin)
        _checks.require_finite_number(self._name, "quantization", quantization, nonnegative=True)
        self.quantization = quantization

    def _rule(self, bits: int) -> Rule:
        return contrast(2.0 * bits if self.margin is None else self.margin)

    def _quantization(self, x: Tensor, y: Tensor) -> Tensor | float:
        sides = [(side.abs() - 1).abs().sum(1).mean() for side in (x, y)]
        return self.quantization * (sides[0] + sides[1])
