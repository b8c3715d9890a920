# SPDX-License-Identifier: Apache-2.0
"""Quantization of those bits alone that the similarities agree with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash._autocast import without_autocast
from fasthash.losses._distributed import gather_batch
from fasthash.losses._inputs import check_embeddings, check_labels, relation_of, shown_options
from fasthash.losses._sums import total

DISSIMILAR = ("differ", "always")
PENALTIES = ("l2", "l1")

_NAME = "ErrorAwareQuantizationLoss"


class ErrorAwareQuantizationLoss(nn.Module):
    """Pulls relaxed codes to their signs, but for bits that contradict the similarities.

        m_ijk = 1 where s_ij sgn(h_ik) sgn(h_jk) > 0, else 0;   s_ij = +1 for similar pairs, -1 for all others
        L     = sum of m_ijk (q_ik + q_jk) / (2 max(1, sum of m_ijk)),   q_ik = (h_ik - sgn(h_ik))^2

    A similar pair quantizes the bits it has in common, a dissimilar pair those it differs in; a bit that is in error
    for a pair is left to the loss that is to mend it. No item is paired with itself. Signs get no gradient, and
    sgn(0) = +1.

    What an element weighs is a count, `w_ik = sum over j of m_ijk = (n_i + sgn(h_ik) (s sgn(h))_ik) / 2`, so nothing of
    size B x B x K is made: ids cost O(B K), forward and backward, by sums over classes; multi-hot labels, similarities
    and mined pairs cost the product of a B x B with a B x K matrix, and O(B (B + K)) memory. Beside `ops.label_sums`
    that is plain PyTorch: an operator of its own could save no more than some passes over B x K elements.

    Args:
        dissimilar: which bits a dissimilar pair quantizes: `differ`, those it differs in, or `always`, all: good codes
            of two classes differ in about half of their bits, and the others are no errors.
        penalty: q is the square (`l2`) or the absolute value (`l1`) of `h - sgn(h)`.
        check_finite: refuse NaN and infinity in embeddings, multi-hot labels and similarities; None does so on the CPU,
            but not on CUDA, where it would wait for the device, nor under `torch.compile`.
        gather: join the batches of all ranks of a distributed run first, see `losses._distributed`.
        backend: `fused` as above; `reference` makes all m_ijk.

    Raises:
        ValueError: an option that is none of those named; in the call, what `forward` lists.

    Source: the idea of Zhao et al., "Rescuing Deep Hashing from Dead Bits Problem", IJCAI 2021 (arXiv 2102.00648):
    quantize the bits that are safe to, judged by the similarity of two images. The rule is this library's own.

    Example:
        >>> loss = pairwise(codes, labels) + 0.1 * ErrorAwareQuantizationLoss()(codes, labels)
    """

    def __init__(
        self,
        dissimilar: str = "differ",
        penalty: str = "l2",
        *,
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__()
        _checks.require_choice(_NAME, "dissimilar", dissimilar, DISSIMILAR)
        _checks.require_choice(_NAME, "penalty", penalty, PENALTIES)
        _checks.require_choice(_NAME, "backend", backend, ("fused", "reference"))
        self.dissimilar = dissimilar
        self.penalty = penalty
        self.check_finite = check_finite
        self.gather = gather
        self.backend = backend

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        similarity: Tensor | None = None,
    ) -> Tensor:
        """Loss of a batch; what is similar comes from exactly one of labels, similarity and indices.

        Args:
            embeddings: (A, K) relaxed codes, any floating dtype.
            labels: (A,) integer ids or (A, C) multi-hot rows.
            indices_tuple: pairs of a miner, or triplets for the pairs they hold; see `relation_from_indices`. Pairs it
                does not name do not count.
            ref_emb: (M, K) items to pair the batch with, which are quantized like it; None pairs it with itself.
            ref_labels: labels of `ref_emb`, of the same kind as `labels`.
            similarity: (A, M) matrix in place of labels; an entry > 0 means similar, any other dissimilar.

        Returns:
            () float32, or float64 for float64 embeddings. 0 where no bit agrees.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, values that are not finite, no labels, or labels and
                a similarity at once.
        """
        check_embeddings(_NAME, embeddings, ref_emb, self.check_finite)
        if self.gather:
            others = (indices_tuple, ref_emb, ref_labels, similarity)
            if labels is None or any(each is not None for each in others):
                raise ValueError(f"{_NAME}: labels alone must say what is similar where gather=True")
            embeddings, labels = gather_batch(_NAME, embeddings, labels)
        items = embeddings if ref_emb is None else ref_emb
        signs = [_signs(embeddings), _signs(items)]
        ids = isinstance(labels, Tensor) and labels.dim() == 1 and indices_tuple is None and similarity is None
        if self.backend == "fused" and ids:
            labels = check_labels(_NAME, labels, ref_labels, embeddings, ref_emb, self.check_finite)
            weights = self._weights_of_ids(signs, labels, ref_labels)
        else:
            given = (labels, indices_tuple, ref_emb, ref_labels, similarity)
            relation = relation_of(_NAME, embeddings, *given, check_finite=self.check_finite)
            weigh = self._weights if self.backend == "fused" else self._weights_one_by_one
            weights = [weigh(relation, *signs)]
            if ref_emb is not None:
                weights.append(weigh(relation.T, signs[1], signs[0]))
        values = [embeddings] if ref_emb is None else [embeddings, ref_emb]
        parts = [self._quantized(*each) for each in zip(values, signs, weights, strict=False)]
        total = parts[0] if len(parts) == 1 else (parts[0] + parts[1]) / 2
        total = total / weights[0].sum().clamp(min=1)
        return total if embeddings.dtype == torch.float64 else total.float()

    def _quantized(self, values: Tensor, signs: Tensor, weights: Tensor) -> Tensor:
        wide = values if values.dtype == torch.float64 else values.float()
        gap = wide - signs
        return total(weights.to(wide.dtype) * (gap.square() if self.penalty == "l2" else gap.abs()))

    def _weights_of_ids(self, signs: list[Tensor], labels: Tensor, ref_labels: Tensor | None) -> list[Tensor]:
        """W (A, K), and that of the items (M, K) where there are any, from sums over classes; float64."""
        sides = [(signs[0], labels), (signs[1], labels if ref_labels is None else ref_labels)]
        itself = 1 if ref_labels is None else 0
        weights = []
        for (own, own_labels), (other, other_labels) in [sides] if itself else [sides, sides[::-1]]:
            sums, counts = ops.label_sums(other, other_labels, own_labels)
            similar = (counts - itself).unsqueeze(1).double()
            agreeing = own * sums - itself
            every = own * other.sum(0, dtype=torch.float64) - itself
            weights.append(self._combined(similar, agreeing, len(other) - itself - similar, every - agreeing))
        return weights

    def _weights(self, relation: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """W (A, K) float64 from a relation (A, M) and signs (A, K), (M, K)."""
        with without_autocast(own):
            wide = other.float()  # sums of ±1 are exact below 2**24
            kinds = [(relation > 0).float(), (relation < 0).float()]
            (similar, agreeing), (dissimilar, alike) = (
                (kind.sum(1, keepdim=True).double(), own * (kind @ wide).double()) for kind in kinds
            )
        return self._combined(similar, agreeing, dissimilar, alike)

    def _combined(self, similar: Tensor, agreeing: Tensor, dissimilar: Tensor, alike: Tensor) -> Tensor:
        """From the numbers of pairs (A, 1), and the sums over them of the products of signs (A, K)."""
        rest = dissimilar if self.dissimilar == "always" else (dissimilar - alike) / 2
        return (similar + agreeing) / 2 + rest

    def _weights_one_by_one(self, relation: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """The same from all m_ijk (A, M, K)."""
        equal = own.unsqueeze(1) == other.unsqueeze(0)
        pairs = relation.unsqueeze(2)
        counted = torch.where(pairs > 0, equal, (pairs < 0) & (~equal | (self.dissimilar == "always")))
        return counted.sum(1).double()

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)


def _signs(values: Tensor) -> Tensor:
    """(B, K) int8: +1 where >= 0, else -1."""
    return (values.detach() >= 0).to(torch.int8) * 2 - 1
