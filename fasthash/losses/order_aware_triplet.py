# SPDX-License-Identifier: Apache-2.0
"""Triplet loss weighted by the ranking of the binary codes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fasthash import _checks, ops, reference
from fasthash.losses._gains import gains_of
from fasthash.losses._inputs import check_embeddings, gather_alone, relation_of, shown_options, squared_distances
from fasthash.losses._margin import HasMargin
from fasthash.types import REDUCTIONS, TIES, WEIGHTINGS

_BACKENDS = {"fused": ops, "reference": reference}


class OrderAwareTripletLoss(HasMargin, nn.Module):
    """Squared triplet hinge over all triplets of a batch, weighted by what their swap does to the ranking.

        L = 1/|T| * sum over (a, p, n) of omega_hat * max(0, margin + D(a, p) - D(a, n))^2

    D is the squared Euclidean distance of relaxed codes (for codes of ±1, four times the Hamming distance), and
    `omega_hat = |delta AP| / mean |delta AP|` over the triplets of the anchor, from its ranking by the Hamming
    distance of the signs. `fasthash.ops.order_aware_triplet` has the other weights. By NDCG a positive gains `2^a - 1`,
    where a is the number of labels it shares with the anchor, or its entry of `similarity`; 1 where indices are given.
    A batch without any triplet gives 0 with zero gradient. Every item is ranked, so batches should hold several items
    of each class.

    Args:
        margin: in units of D; None means `K / 4 + 4` for K bits (8, 12, 16, 20 at 16, 32, 48, 64 bits). Below 0 it is
            what a negative may be nearer than a positive at no cost, as in pytorch-metric-learning.
        weighting: `delta_ap`, `delta_ndcg`, `rank_difference` or `none`.
        squared: square the hinge.
        reduction: `mean` over all triplets, `avg_nonzero` over those that violate the margin, or `sum`.
        normalize: bring the mean weight of each anchor to 1; False leaves the weights as they are.
        ties: items of equal Hamming distance are ranked by (D, `index`), or all get their `mean` rank.
        check_finite: refuse NaN and infinity in embeddings, multi-hot labels and similarities; None does so on the CPU,
            but not on CUDA, where it would wait for the device, nor under `torch.compile`.
        backend: `fused` is the compiled op. `reference` is plain PyTorch with O(A * P * N) memory, for `torch.func`,
            which cannot look into registered ops.
        gather: take the batch of all ranks; see `losses` about what that means for gradients.

    Raises:
        ValueError: an option that is none of those named; what the call refuses is listed at `forward`.

    Source:
        After Chen, Lai, Geng, Pan, "Improving Deep Binary Embedding Networks by Order-aware Reweighting of Triplets",
        arXiv 1804.06061. That weights follow the rank order of the codes and that the hinge is squared is theirs; the
        weights' formulas and their normalisation are this library's definition, the margin is a rule that fits
        published reproductions.

    Example:
        >>> loss_function = OrderAwareTripletLoss()
        >>> loss = loss_function(layer(features).codes, labels)
    """

    def __init__(
        self,
        margin: float | None = None,
        weighting: str = "delta_ap",
        squared: bool = True,
        reduction: str = "mean",
        check_finite: bool | None = None,
        backend: str = "fused",
        *,
        normalize: bool = True,
        ties: str = "index",
        gather: bool = False,
    ) -> None:
        super().__init__()
        name = "OrderAwareTripletLoss"
        self.margin = None
        if margin is not None:
            self.set_margin(margin)
        _checks.require_choice(name, "weighting", weighting, WEIGHTINGS)
        _checks.require_choice(name, "reduction", reduction, REDUCTIONS)
        _checks.require_choice(name, "ties", ties, TIES)
        _checks.require_choice(name, "backend", backend, tuple(_BACKENDS))
        self.weighting = weighting
        self.squared = squared
        self.reduction = reduction
        self.normalize = normalize
        self.ties = ties
        self.gather = gather
        self.check_finite = check_finite
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
            embeddings: (A, K) relaxed codes of the anchors, any floating dtype; computed in float32 (float64 stays).
            labels: (A,) integer class ids or (A, C) multi-hot rows. Not looked at where `indices_tuple` is given.
            indices_tuple: pairs `(a1, p, a2, n)` of a miner, or triplets `(a, p, n)` for the pairs (a, p) and (a, n).
                Either way all positives that an anchor is named with meet all negatives it is named with, and these
                alone are ranked: weights need a ranking, which a list of triplets is not.
            ref_emb: (M, K) items to compare with; None compares the anchors with one another, none with itself.
            ref_labels: labels of `ref_emb`, of the same kind as `labels`.
            similarity: (A, M) matrix in place of labels; an entry > 0 means similar, any other dissimilar. It is the a
                of gains.

        Returns:
            () float32, or float64 for float64 embeddings.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, values that are not finite, no labels, labels and a
                similarity at once, or `gather` with anything but embeddings and labels.
            RuntimeError: `gather` without a process group.
        """
        name = "OrderAwareTripletLoss"
        check_embeddings(name, embeddings, ref_emb, self.check_finite)
        if self.gather:
            embeddings, labels = gather_alone(name, embeddings, labels, indices_tuple, ref_emb, similarity)
        items = embeddings if ref_emb is None else ref_emb
        given = (labels, indices_tuple, ref_emb, ref_labels, similarity)
        relation = relation_of(name, embeddings, *given, check_finite=self.check_finite)
        gains = None
        if self.weighting == "delta_ndcg" and indices_tuple is None:
            gains = gains_of(relation, labels, ref_labels, similarity)
        backend = _BACKENDS[self.backend]
        # Packing the comparison lets NaN pass on to the loss where check_finite is off.
        anchor_codes = backend.pack_codes(embeddings.detach() >= 0)
        item_codes = anchor_codes if ref_emb is None else backend.pack_codes(items.detach() >= 0)
        loss: Tensor = backend.order_aware_triplet(
            squared_distances(embeddings, items),
            relation,
            anchor_codes,
            item_codes,
            margin=embeddings.shape[1] / 4 + 4 if self.margin is None else self.margin,
            weighting=self.weighting,
            squared=self.squared,
            reduction=self.reduction,
            normalize=self.normalize,
            ties=self.ties,
            gains=None if gains is None else gains.float(),
        )
        return loss

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)
