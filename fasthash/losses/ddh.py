# SPDX-License-Identifier: Apache-2.0
"""DDH: a classifier on relaxed codes, with an absolute penalty."""

from __future__ import annotations

from torch import Tensor

from fasthash import _checks
from fasthash.losses._corners import Corners
from fasthash.losses.softmax import SoftmaxHashLoss


class DDHLoss(SoftmaxHashLoss):
    """Cross-entropy of a linear classifier on relaxed codes h in [-1, 1], and their distance from ±1.

        L = CE(softmax(W h + c), y) + penalty_weight * mean over i and k of ||h_ik| - 1|

    Multi-hot rows are targets `y / |y|_1` (this library's own). `fasthash.nn.DivideAndEncode` is DDH's hash layer. The
    paper's weight decay is the optimizer's.

    Args:
        num_classes: C.
        embedding_size: K.
        penalty_weight: of the absolute term.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.

    Attributes:
        weight: (C, K) parameter W; it goes to the optimizer, as does the bias.
        bias: (C,) parameter c.

    Raises:
        ValueError: `penalty_weight` is not a finite number >= 0; in the call, what `ClassLevelLoss.forward` refuses.

    Source: DDH (Lin, Li, Tang, IJCAI 2017, the authors' released code).
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        penalty_weight: float = 0.01,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "penalty_weight", penalty_weight, nonnegative=True)
        self.penalty_weight = penalty_weight

    def _corners(self, embeddings: Tensor) -> Corners | None:
        return Corners(l1=self.penalty_weight / embeddings.numel()) if self.penalty_weight else None
