# SPDX-License-Identifier: Apache-2.0
"""CSQ: binary cross-entropy towards the hash centre of the class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fasthash import _checks
from fasthash._autocast import without_autocast
from fasthash.losses._class_level import ClassLevelLoss, row_factors
from fasthash.losses._class_softmax import Undifferentiable
from fasthash.losses._sums import total
from fasthash.losses.hash_centers import hadamard_centers
from fasthash.losses.ortho_hash import checked_codes

INPUTS = ("codes", "logits")

_SMALLEST = 1e-7  # half a step of float32 below 1: codes tell no smaller probabilities apart


class CSQLoss(ClassLevelLoss):
    """Central similarity: every bit is told by binary cross-entropy which side the centre of the class is on.

        L = mean over i and k of -log((1 + c_ik h_ik) / 2)  +  penalty_weight * mean of (|h_ik| - 1)^2,   h = tanh(z)

    c_i is the centre of the class. With several labels it is the bitwise majority, the sign of the sum of the labels'
    centres, where ties take the bit of one fixed random vector. A row without any label has neither term.

    Args:
        num_classes: C.
        embedding_size: K.
        penalty_weight: of the quantization term.
        inputs: `codes`: the embeddings are relaxed codes h in [-1, 1]. Below a probability of 1e-7 the logarithm goes
            on along its tangent, so that the gradient of a code on the very wrong side stays finite. `logits`: they are
            z, and the loss is `log(1 + exp(-2 c z))`, exact however large z.
        centers: (C, K) of ±1; None for `hadamard_centers(C, K, seed)`.
        seed: of random centres and of the vector that decides ties.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.

    Attributes:
        centers: (C, K) buffer.
        tie_breaker: (K,) buffer. The loss has no parameters.

    Raises:
        ValueError: an option out of its range, centres of another shape or with other values than ±1; in the call, what
            `ClassLevelLoss.forward` refuses, and codes outside of [-1, 1] where values are checked.

    Source: CSQ (Yuan et al., CVPR 2020, the authors' released code; there the weight is 0.05 with ResNet-50, 1e-4 and
    1e-3 with AlexNet).
    """

    centers: Tensor
    tie_breaker: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        penalty_weight: float = 1e-4,
        *,
        inputs: str = "codes",
        centers: Tensor | None = None,
        seed: int = 0,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "penalty_weight", penalty_weight, nonnegative=True)
        _checks.require_choice(self._name, "inputs", inputs, INPUTS)
        self.penalty_weight = penalty_weight
        self.inputs = inputs
        if centers is None:
            centers = hadamard_centers(num_classes, embedding_size, seed)
        self.register_buffer("centers", checked_codes(self, "centers", centers))
        generator = torch.Generator().manual_seed(seed)
        coins = torch.randint(0, 2, (embedding_size,), generator=generator)
        self.register_buffer("tie_breaker", coins * 2.0 - 1.0)

    def targets(self, labels: Tensor) -> Tensor:
        """(B, K) centres of ids (B,) or multi-hot rows (B, C), ±1 in the dtype of the centres."""
        if labels.dim() == 1:
            return self.centers[labels]
        votes = (labels > 0).to(self.centers.dtype) @ self.centers
        return torch.where(votes == 0, self.tie_breaker, votes.sign())

    def _shows_bad_values(self) -> bool:
        return False  # an infinite logit may be on the right side, and a negative id is a place in the centres

    def _check_values(self, embeddings: Tensor, labels: Tensor) -> None:
        super()._check_values(embeddings, labels)
        if self.inputs == "codes":
            highest = float(embeddings.detach().abs().max())
            self._require(highest <= 1, "embeddings", 'codes in [-1, 1] where inputs="codes"', f"|h| = {highest:g}")

    def _loss(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        labelled = (labels > 0).any(1) if labels.dim() == 2 else None
        factors = row_factors(weights, labelled, embeddings.dtype)
        targets = self.targets(labels).to(embeddings.dtype)
        if self.inputs == "codes" and self.backend == "fused":
            needed = torch.is_grad_enabled() and embeddings.requires_grad
            loss: Tensor = _CodeEntropy.apply(  # type: ignore[no-untyped-call]
                embeddings, targets, factors, self.penalty_weight, needed
            )
            return loss
        if self.inputs == "codes":
            likelihood = 0.5 + 0.5 * targets * embeddings
            near = likelihood.clamp(min=_SMALLEST)
            values = (_SMALLEST - likelihood).relu() / _SMALLEST - near.log()
            gap = 1 - embeddings.abs()
        else:
            values = functional.softplus(-2 * targets * embeddings)
            gap = 1 - embeddings.tanh().abs()
        values = values + self.penalty_weight * gap.square()
        return total(values) / values.numel() if factors is None else (values.mean(1) * factors).sum()


class _CodeEntropy(torch.autograd.Function):
    """The loss of codes (B, K); d loss / d h is `-c / (2 max(p, smallest)) + 2 weight (|h| - 1) sgn(h)` per element."""

    @staticmethod
    def forward(
        ctx: Any, codes: Tensor, targets: Tensor, factors: Tensor | None, penalty_weight: float, needed: bool
    ) -> Tensor:
        likelihood = (targets * codes).add_(1).mul_(0.5)
        near = likelihood.clamp(min=_SMALLEST)
        gap = codes.abs().sub_(1)
        values = (near - likelihood).div_(_SMALLEST).sub_(near.log()).addcmul_(gap, gap, value=penalty_weight)
        loss = total(values) / values.numel() if factors is None else torch.dot(values.mean(1), factors)
        if needed:
            slopes = targets / near
            slopes = gap.mul_(codes.sign()).mul_(2 * penalty_weight).sub_(slopes, alpha=0.5)
            scale = 1 / codes.numel() if factors is None else factors.unsqueeze(1) / codes.shape[1]
            ctx.save_for_backward(slopes.mul_(scale), codes)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        slopes, codes = ctx.saved_tensors
        with without_autocast(slopes):
            found = slopes * gradients[0]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            found = Undifferentiable.apply(found, codes)  # type: ignore[no-untyped-call]
        return found, None, None, None, None
