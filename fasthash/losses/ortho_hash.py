# SPDX-License-Identifier: Apache-2.0
"""OrthoHash: cosine softmax with a margin towards fixed codes of the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.losses._class_level import ClassLevelLoss
from fasthash.losses._class_softmax import SoftmaxRule
from fasthash.losses.hash_centers import hash_codebook
from fasthash.losses.softmax import MarginSoftmaxLoss

MARGINS = ("cosine", "angle")


class OrthoHashLoss(MarginSoftmaxLoss):
    """One loss for classification and quantization: the cosine between logits u and the fixed code of the class.

        L = mean over i of -log softmax(scale * (cos(u_i, o_c) - margin [c = y_i]))_{y_i},   o_c in {-1, +1}^K

    A cosine of 1 to a code means `|u_k|` equal in all bits, so there is no quantization term. The logits should be
    normalised over the batch (`HashLayer(batch_norm=True).logits`), which balances the bits. Multi-hot rows are targets
    `y / |y|_1`, with the margin on every label of the row.

    Args:
        num_classes: C.
        embedding_size: K.
        margin: in units of the cosine, or an angle in radians, see `margin_type`.
        scale: a finite number > 0.
        margin_type: `cosine` subtracts the margin, `angle` takes `cos(arccos(.) + margin)`.
        codebook: method of `hash_codebook`, or codes (C, K) of ±1.
        seed: of the random methods.
        check_finite: see `ClassLevelLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there.

    Attributes:
        codebook: (C, K) buffer. The loss has no parameters.

    Raises:
        ValueError: an option out of its range, a codebook of another shape or with other values than ±1; in the call,
            what `ClassLevelLoss.forward` refuses.

    Source: OrthoHash (Hoe et al., NeurIPS 2021, the authors' released code).
    """

    codebook: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        margin: float = 0.2,
        scale: float = 8.0,
        *,
        margin_type: str = "cosine",
        codebook: str | Tensor = "bernoulli",
        seed: int = 0,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(num_classes, embedding_size, check_finite=check_finite, gather=gather, backend=backend)
        _checks.require_finite_number(self._name, "scale", scale, positive=True)
        _checks.require_choice(self._name, "margin_type", margin_type, MARGINS)
        if isinstance(codebook, str):
            codebook = hash_codebook(num_classes, embedding_size, codebook, seed)
        self.register_buffer("codebook", checked_codes(self, "codebook", codebook))
        self.margin_type = margin_type
        self.rule = SoftmaxRule(scale, True, False, angular=margin_type == "angle")
        self.set_margin(margin)

    def _classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        return self.codebook.to(dtype) * self.embedding_size**-0.5, None


def checked_codes(loss: ClassLevelLoss, argument: str, codes: Tensor) -> Tensor:
    """A float32 copy of codes (C, K) of ±1, of any dtype; anything else is refused."""
    name, shape = type(loss).__name__, (loss.num_classes, loss.embedding_size)
    _checks.require(tuple(codes.shape) == shape, name, argument, f"of shape {shape}", tuple(codes.shape))
    _checks.require(bool((codes.abs() == 1).all()), name, argument, "of values -1 and 1", "others")
    return codes.detach().to(torch.float32, copy=True)
