# SPDX-License-Identifier: Apache-2.0
"""Weighted likelihood of similar and dissimilar pairs: HashNet, and its cohesion-weighted form."""

from __future__ import annotations

from fasthash import _checks
from fasthash.losses._likelihood import likelihood
from fasthash.losses._pairs import Balance, PairwiseLoss, Rule


class HashNetLoss(PairwiseLoss):
    """Weighted negative log-likelihood of pairs of relaxed codes h.

        L = 1/|S| * sum over i, j of w_ij (log(1 + exp(t_ij)) - s_ij t_ij),   t_ij = scale * <h_i, h_j>
        w_ij = |S| / |S_1| where s_ij = 1, |S| / |S_0| where s_ij = 0; 1 where one kind has no pair

    S are all pairs but those of an item with itself, s_ij is 1 where items share a label. Train with a growing
    sharpness (`fasthash.nn.Continuation`); there is no quantization term.

    Args:
        scale: factor on inner products; None means 10 / K.
        check_finite, gather, backend: see `DPSHLoss`.

    Raises:
        ValueError: `scale` not a finite number > 0, another `backend`; what the call refuses is listed at `forward`.

    Source: Cao, Long, Wang, Yu, "HashNet: Deep Learning to Hash by Continuation", ICCV 2017, in the balanced form of
    the authors' released code with its scale 10 / K (confirmed from that code); they pair two batches, this one a batch
    with itself or with `ref_emb`.

    Example:
        >>> loss = HashNetLoss()(layer(features).codes, labels)
    """

    _balance = Balance("both")

    def __init__(
        self,
        scale: float | None = None,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(check_finite, gather, backend)
        if scale is not None:
            _checks.require_finite_number(self._name, "scale", scale, positive=True)
        self.scale = scale

    def _rule(self, bits: int) -> Rule:
        return likelihood(10 / bits if self.scale is None else self.scale)


class CohesionLoss(HashNetLoss):
    """HashNet's likelihood with a further factor on similar pairs, which draws the codes of a class together.

        L = sum over i, j of w_ij (log(1 + exp(t_ij)) - s_ij t_ij) / sum over i, j of w_ij,   t_ij = scale * <h_i, h_j>
        w_ij = cohesion * |S| / |S_1| where s_ij = 1, |S| / |S_0| where s_ij = 0

    Args:
        cohesion: >= 1; 1 only balances similar and dissimilar pairs.
        scale: factor on inner products; None means 10 / K.
        check_finite, gather, backend: see `DPSHLoss`.

    Raises:
        ValueError: `cohesion` < 1, and what `HashNetLoss` refuses.

    Source: this library's definition, after the idea of Han, Li, Bai, Grecos, Zhang, Ren, "Cohesion Intensive Deep
    Hashing for Remote Sensing Image Retrieval", Remote Sensing 12(1), 2020: a weighted loss that tightens codes within
    a class and counters the imbalance of pairs. The paper's own formula may differ.
    """

    def __init__(
        self,
        cohesion: float = 1.0,
        scale: float | None = None,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(scale, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "cohesion", cohesion)
        _checks.require(cohesion >= 1, self._name, "cohesion", ">= 1", cohesion)
        self.cohesion = cohesion

    @property
    def _balance(self) -> Balance:  # type: ignore[override]
        return Balance("both", self.cohesion, normalize=True)
