# SPDX-License-Identifier: Apache-2.0
"""Likelihood of pairs with a quantization term: DPSH, DHN and IDHN."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from fasthash import _checks
from fasthash.losses._likelihood import graded_likelihood, likelihood
from fasthash.losses._pairs import Pairs, PairwiseLoss, Rule
from fasthash.losses._sums import total


class DPSHLoss(PairwiseLoss):
    """Negative log-likelihood of pairs of logits u, and their distance from ±1.

        L = mean over i, j of (log(1 + exp(t_ij)) - s_ij t_ij) + quantization * mean over i, k of (u_ik - sgn u_ik)^2
        t_ij = <u_i, u_j> / 2

    The mean goes over all pairs but those of an item with itself; s_ij is 1 where items share a label. Published
    training compares each batch with the latest outputs for the whole training set: see `CodeBank` and
    `CrossBatchLoss`.

    Args:
        quantization: weight of the distance from ±1.
        check_finite: refuse NaN and infinity in embeddings, multi-hot labels and similarities; None does so on the CPU,
            but not on CUDA, where it would wait for the device, nor under `torch.compile`.
        gather: join the batches of all ranks of a distributed run first; the gradients of parameters are those of one
            process after the mean that DistributedDataParallel takes.
        backend: `fused` has the gradient ready after forward, and keeps nothing of the size of all pairs: pairs by
            labels are one operator on the CPU, `ops.pairwise_similarity_loss`; those on CUDA, of indices and of a
            similarity are walked in PyTorch, some of the items at a time. `reference` is plain PyTorch, for double
            backward and `torch.func`.

    Raises:
        ValueError: `quantization` not a finite number >= 0, another `backend`; what the call refuses is listed at
            `forward`.

    Source: Li, Wang, Kang, "Feature Learning based Deep Supervised Hashing with Pairwise Labels", IJCAI 2016, after
    code of the authors' laboratory; the weight 0.1 of a mean over all elements is that of published reproductions.

    Example:
        >>> loss = DPSHLoss()(layer(features).logits, labels)
    """

    def __init__(
        self,
        quantization: float = 0.1,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(check_finite, gather, backend)
        _checks.require_finite_number(self._name, "quantization", quantization, nonnegative=True)
        self.quantization = quantization

    def _rule(self, bits: int) -> Rule:
        return likelihood(0.5)

    def _quantization(self, x: Tensor, y: Tensor) -> Tensor | float:
        return self.quantization * total((x.abs() - 1).square()) / x.numel()


class DHNLoss(DPSHLoss):
    """Negative log-likelihood of pairs of relaxed codes h, and a smooth distance from ±1.

        L = mean over i, j of (log(1 + exp(t_ij)) - s_ij t_ij) + quantization * mean over i, k of log cosh(|h_ik| - 1)
        t_ij = <h_i, h_j> / 2

    Computed as `|a| + log(1 + exp(-2 |a|)) - log 2`, which no value overflows.

    Args:
        quantization: weight of the distance from ±1.
        check_finite, gather, backend: see `DPSHLoss`.

    Raises:
        ValueError: as `DPSHLoss`.

    Source: Zhu, Long, Wang, Cao, "Deep Hashing Network for Efficient Similarity Retrieval", AAAI 2016, from memory of
    the paper and of published reproductions; not checked against the authors' code.
    """

    def _quantization(self, x: Tensor, y: Tensor) -> Tensor | float:
        gap = (x.abs() - 1).abs()
        return self.quantization * total(gap + functional.softplus(-2 * gap) - math.log(2)) / x.numel()


class IDHNLoss(PairwiseLoss):
    """Pairs of relaxed codes h of images with several labels each: graded similarities.

        s_ij = <y_i, y_j> / (|y_i| |y_j|) of multi-hot labels y
        L = mean over i, j of (log(1 + exp(t_ij)) - s_ij t_ij   where s_ij is 0 or 1,
                               soft * (t_ij + K - 2 s_ij K)^2   elsewhere)
            + quantization * mean over i, k of ||h_ik| - 1|,   t_ij = scale * <h_i, h_j>

    With class ids, or a similarity matrix, there are no graded pairs.

    Args:
        scale: None means 5 / K.
        soft: weight of graded pairs; None means 0.1 / K.
        quantization: weight of the distance from ±1.
        check_finite, gather, backend: see `DPSHLoss`.

    Raises:
        ValueError: a weight that is not a finite number >= 0, `scale` not one > 0, another `backend`; what the call
            refuses is listed at `forward`.

    Source: Zhang, Zou, Lin, Chen, Wang, "Improved Deep Hashing with Soft Pairwise Similarity for Multi-label Image
    Retrieval", IEEE TMM 2020, from memory of published reproductions; not checked against the paper.
    """

    def __init__(
        self,
        scale: float | None = None,
        soft: float | None = None,
        quantization: float = 0.1,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(check_finite, gather, backend)
        if scale is not None:
            _checks.require_finite_number(self._name, "scale", scale, positive=True)
        for argument, value in (("soft", 0.0 if soft is None else soft), ("quantization", quantization)):
            _checks.require_finite_number(self._name, argument, value, nonnegative=True)
        self.scale = scale
        self.soft = soft
        self.quantization = quantization

    def _rule(self, bits: int) -> Rule:
        scale = 5 / bits if self.scale is None else self.scale
        return graded_likelihood(scale, bits, 0.1 / bits if self.soft is None else self.soft)

    def _weighted(self, pairs: Pairs, x: Tensor, y: Tensor) -> Pairs:
        weighted = super()._weighted(pairs, x, y)
        if pairs.labels is None or pairs.labels[0].dim() == 1:
            return weighted
        anchors, items = (functional.normalize(labels.to(x.dtype)) for labels in pairs.labels)
        return weighted._replace(graded=(anchors, items))

    def _quantization(self, x: Tensor, y: Tensor) -> Tensor | float:
        return self.quantization * total((x.abs() - 1).abs()) / x.numel()
