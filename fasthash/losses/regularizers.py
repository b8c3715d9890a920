# SPDX-License-Identifier: Apache-2.0
"""What is asked of codes whatever their labels: bits in balance, bits that differ, entropy for images of no class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fasthash import _checks
from fasthash._autocast import without_autocast
from fasthash.losses._distributed import gather_batch
from fasthash.losses._inputs import check_embeddings, shown_options
from fasthash.losses._sums import gram, total

FORMS = ("cross_entropy", "entropy")


def bit_balance(codes: Tensor) -> Tensor:
    """How far the bits are from being +1 as often as -1: `mean over k of (1/B * sum over i of h_ik)^2`.

    Args:
        codes: (B, K) relaxed codes, any floating dtype; computed in float32, or float64 where they are.

    Returns:
        () in [0, 1] for codes in [-1, 1]: 0 where each bit's mean is 0, 1 where all codes are one and the same.
    """
    with without_autocast(codes):
        return _wide(codes).mean(0).square().mean()


def bit_decorrelation(codes: Tensor) -> Tensor:
    """How much bits repeat one another: `mean over k != l of (1/B * sum over i of h_ik h_il)^2`.

    Args:
        codes: (B, K) relaxed codes, any floating dtype; computed in float32, or float64 where they are.

    Returns:
        () in [0, 1] for codes in [-1, 1]: 1 where each bit is another or its inverse; 0 for a single bit.
    """
    rows, bits = codes.shape
    with without_autocast(codes):
        wide = _wide(codes)
        products = gram(wide) / rows
        return total(products.triu(1).square()) * (2 / max(1, bits * (bits - 1)))


def fake_image_entropy(logits: Tensor, form: str = "cross_entropy", scale: float = 1.0) -> Tensor:
    """What images of no class cost whose bits are certain, so that a network does not learn to be sure of them.

        p = sigmoid(scale * z)
        cross_entropy:  mean of -(log p + log(1 - p)) / 2 = softplus(s) - s / 2,  s = scale * z;  gradient p - 1/2
        entropy:        mean of p log p + (1 - p) log(1 - p);                                     gradient p (1 - p) s

    (gradients with respect to s). Both are least at p = 1/2, at log 2 and at -log 2. The first pulls a saturated bit
    back with full strength, the second lets go of it.

    Args:
        logits: (B, K) of fake images, before the activation, any floating dtype; computed in float32, or float64 where
            they are.
        form: `cross_entropy` or `entropy`.
        scale: 1 for sigmoid codes; for `h = tanh(sharpness * z)`, whose bit is +1 with p = (1 + h) / 2, twice the
            sharpness.

    Returns:
        ().

    Raises:
        ValueError: another `form`.

    Source: the idea of Geng, Pan, Chen, Lai, "Regularizing Deep Hashing Networks Using GAN-Generated Fake Images",
    arXiv 1803.09466: a maximum-entropy loss for fake images. Both formulas are this library's own.
    """
    _checks.require_choice("fake_image_entropy", "form", form, FORMS)
    with without_autocast(logits):
        scaled = _wide(logits) * scale
        if form == "entropy":
            return total(scaled * scaled.sigmoid() - functional.softplus(scaled)) / scaled.numel()
        return total(functional.softplus(scaled) - scaled / 2) / scaled.numel()


class _Regularizer(nn.Module):
    """A loss of embeddings alone, called like all others; labels are taken, and not looked at.

    Args:
        check_finite: refuse NaN and infinite embeddings; None does so on the CPU, but not on CUDA, where it would wait
            for the device, nor under `torch.compile`.
        gather: join the batches of all ranks of a distributed run first, see `losses._distributed`.
    """

    def __init__(self, *, check_finite: bool | None = None, gather: bool = False) -> None:
        super().__init__()
        self.check_finite = check_finite
        self.gather = gather

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Loss of a batch.

        Args:
            embeddings: (B, K), any floating dtype; what they are, relaxed codes or logits, the class says.
            labels: not looked at.
            indices_tuple: not looked at: every item counts.
            ref_emb: has to be None.
            ref_labels: has to be None.

        Returns:
            () float32, or float64 for float64 embeddings.

        Raises:
            ValueError: embeddings of another shape or dtype or not finite, or reference embeddings.
        """
        name = type(self).__name__
        if ref_emb is not None or ref_labels is not None:
            argument = "ref_labels" if ref_emb is None else "ref_emb"
            raise ValueError(f"{name}: {argument} must be None, nothing is compared, got a tensor")
        check_embeddings(name, embeddings, None, self.check_finite)
        if self.gather:
            embeddings, _ = gather_batch(name, embeddings, embeddings.new_zeros(len(embeddings), dtype=torch.int8))
        return self._loss(embeddings)

    def _loss(self, embeddings: Tensor) -> Tensor:
        raise NotImplementedError


class BitBalanceLoss(_Regularizer):
    """`bit_balance` of relaxed codes, to be added to another loss with a weight.

    Each bit is to be +1 for half of the items. Small batches are out of balance by chance, by 1/B for random codes.

    Source: the balance constraint of spectral hashing (Weiss, Torralba, Fergus, NIPS 2008); the penalty's form is this
    library's.

    Example:
        >>> loss = OrderAwareTripletLoss()(codes, labels) + 0.1 * BitBalanceLoss()(codes)
    """

    def _loss(self, embeddings: Tensor) -> Tensor:
        return bit_balance(embeddings)


class BitDecorrelationLoss(_Regularizer):
    """`bit_decorrelation` of relaxed codes, to be added to another loss with a weight.

    Each bit is to tell something else. Random codes have 1/B by chance.

    Source: the independence constraint of spectral hashing (Weiss, Torralba, Fergus, NIPS 2008); the penalty's form is
    this library's.
    """

    def _loss(self, embeddings: Tensor) -> Tensor:
        return bit_decorrelation(embeddings)


class FakeImageEntropyLoss(_Regularizer):
    """`fake_image_entropy` of the logits of fake images, to be added to the loss of the real ones with a weight.

    The images may come from a generator trained on the training images, as in the paper, or from anywhere else outside
    of the classes; some one of them for three real ones, with a weight of 0.1 to 1.

    Args:
        form: `cross_entropy` or `entropy`.
        scale: 1 for sigmoid codes, `2 * sharpness` for tanh codes; a finite number > 0.
        check_finite: see `BitBalanceLoss`, as `gather`.
        gather: see there.

    Raises:
        ValueError: an option that is none of those named.

    Source: see `fake_image_entropy`.

    Example:
        >>> loss = triplet(layer(real).codes, labels) + 0.5 * FakeImageEntropyLoss(scale=2.0)(layer(fake).logits)
    """

    def __init__(
        self,
        form: str = "cross_entropy",
        scale: float = 1.0,
        *,
        check_finite: bool | None = None,
        gather: bool = False,
    ) -> None:
        super().__init__(check_finite=check_finite, gather=gather)
        _checks.require_choice("FakeImageEntropyLoss", "form", form, FORMS)
        _checks.require_finite_number("FakeImageEntropyLoss", "scale", scale, positive=True)
        self.form = form
        self.scale = scale

    def _loss(self, embeddings: Tensor) -> Tensor:
        return fake_image_entropy(embeddings, self.form, self.scale)

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
