# SPDX-License-Identifier: Apache-2.0
"""TALR: average precision and NDCG of the ranking by Hamming distance, ties and all, as a loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash._autocast import without_autocast
from fasthash.losses._distributed import gather_batch
from fasthash.losses._gains import gains_of
from fasthash.losses._inputs import check_embeddings, relation_of, shown_options
from fasthash.losses._soft_histogram import soft_histogram
from fasthash.losses._soft_ranking import (
    expected_precision,
    ideal_gain,
    ideal_graded_gain,
    relaxed_gain,
    simplified_precision,
)

METRICS = ("ap", "ndcg")
FORMS = ("simplified", "expected")
REDUCTIONS = ("mean", "sum")

_NAME = "TieAwareRankingLoss"


class TieAwareRankingLoss(nn.Module):
    """One minus the average precision, or the NDCG, of each anchor's ranking of the other items.

        L = mean over anchors i with a positive of (1 - metric_i),   d_ij = (K - h_i·h_j) / 2

    Items at the same Hamming distance are in no order, so the metrics need no more than counts per distance. Those are
    relaxed: d is shared by the two nearest of the centres 0, K/L, ..., K. With c_l the share of items at centre l, c+_l
    that of positives, C and C+ their cumulative sums, N+ the number of positives and G_l the sum of gains:

        ap, simplified: 1 / N+ * sum over l of c+_l (C+_{l-1} + C+_l + 1) / (C_{l-1} + C_l + 1)
        ap, expected:   the expectation over all orders of each bin's items; see below
        ndcg:           sum over l of G_l / log2(C_{l-1} + (c_l + 1) / 2 + 1), divided by the gain of the ideal order

    The gain of an item is `2^a - 1`, where a is the number of labels it shares with the anchor, or the entry of
    `similarity`. An anchor without a positive counts nothing; a batch without any gives 0 with zero gradient. The
    simplified forms are surrogates: on binary codes too they are near the metric, not equal to it.

    A step takes O(A M) time and memory beside the matrix product, whatever L is; nothing of size A M L is made.

    Args:
        metric: `ap` or `ndcg`.
        form: of ap. `simplified`, or `expected`, which on codes of ±1 with L = K is the expected average precision
            itself (`fasthash.metrics.mean_average_precision`). ndcg has only `simplified`.
        bins: L >= 1; None for K / 2 where K >= 32, else K.
        reduction: `mean` over the anchors with a positive, or `sum`.
        check_finite: refuse NaN and infinity in embeddings, multi-hot labels and similarities, and codes outside of
            [-1, 1]; None does so on the CPU, but not on CUDA nor under `torch.compile`.
        gather: join the batches of all ranks of a distributed run first, see `losses._distributed`.
        backend: `fused` as above; `reference` makes the A M (L + 1) shares and differentiates through them.

    Raises:
        ValueError: an option that is none of those named; in the call, what `forward` lists.

    Numerics: distances in float32 (float64 for float64 embeddings), counts as integers of 2^-40 items and all that
    follows in float64: the same bits however often and on however many threads. Where a distance lies exactly on a
    centre, as those of codes of ±1 do, the slope is the mean of those on both sides.

    Source: He, Cakir, Bargal, Sclaroff, "Hashing as Tie-Aware Learning to Rank", CVPR 2018; the simplified form, the
    kernel and the number of bins follow the authors' released code, which adds up -metric over the batch (the same
    gradient as `reduction="sum"`). `expected` is this library's: the closed form with digamma functions in place of
    sums, so that it holds for shares.

    Example:
        >>> loss = TieAwareRankingLoss("ap")(layer(features).codes, labels)
    """

    def __init__(
        self,
        metric: str = "ap",
        form: str = "simplified",
        *,
        bins: int | None = None,
        reduction: str = "mean",
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__()
        _checks.require_choice(_NAME, "metric", metric, METRICS)
        _checks.require_choice(_NAME, "form", form, FORMS if metric == "ap" else FORMS[:1])
        _checks.require(bins is None or bins >= 1, _NAME, "bins", ">= 1 or None", bins)
        _checks.require_choice(_NAME, "reduction", reduction, REDUCTIONS)
        _checks.require_choice(_NAME, "backend", backend, ("fused", "reference"))
        self.metric = metric
        self.form = form
        self.bins = bins
        self.reduction = reduction
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
            embeddings: (A, K) relaxed codes in [-1, 1] of the anchors, any floating dtype.
            labels: (A,) integer ids or (A, C) multi-hot rows.
            indices_tuple: pairs of a miner, or triplets for the pairs they hold; see `relation_from_indices`. Items
                that an anchor is not named with are not ranked for it.
            ref_emb: (M, K) items to rank; None ranks the batch, each anchor without itself.
            ref_labels: labels of `ref_emb`, of the same kind as `labels`.
            similarity: (A, M) matrix in place of labels; an entry > 0 means positive, and is a of the gain in NDCG.

        Returns:
            () float32, or float64 for float64 embeddings.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, values that are not finite or no codes, no labels, or
                labels and a similarity at once.
        """
        check_embeddings(_NAME, embeddings, ref_emb, self.check_finite)
        self._check_codes(embeddings, ref_emb)
        if self.gather:
            others = (indices_tuple, ref_emb, ref_labels, similarity)
            if labels is None or any(each is not None for each in others):
                raise ValueError(f"{_NAME}: labels alone must say what is similar where gather=True")
            embeddings, labels = gather_batch(_NAME, embeddings, labels)
        given = (labels, indices_tuple, ref_emb, ref_labels, similarity)
        relation = relation_of(_NAME, embeddings, *given, check_finite=self.check_finite)
        gains = None
        if self.metric == "ndcg" and indices_tuple is None:
            gains = gains_of(relation, labels, ref_labels, similarity)
        return self._loss(embeddings, embeddings if ref_emb is None else ref_emb, relation, gains)

    def _check_codes(self, embeddings: Tensor, ref_emb: Tensor | None) -> None:
        checking = self.check_finite
        if checking is None:
            checking = embeddings.device.type == "cpu" and not torch.compiler.is_compiling()
        for name, codes in (("embeddings", embeddings), ("ref_emb", ref_emb)):
            if checking and codes is not None:
                highest = float(codes.detach().abs().max())
                _checks.require(highest <= 1, _NAME, name, "codes in [-1, 1]", f"|h| = {highest:g}")

    def _loss(self, anchors: Tensor, items: Tensor, relation: Tensor, gains: Tensor | None) -> Tensor:
        dtype = torch.float64 if anchors.dtype == torch.float64 else torch.float32
        bits = anchors.shape[1]
        bins = self.bins or (bits // 2 if bits >= 32 else bits)
        with without_autocast(anchors):
            a, b = anchors.to(dtype), items.to(dtype)
            positions = torch.addmm(a.new_full((), bins / 2), a, b.T, alpha=-bins / (2 * bits))
            counts = soft_histogram(positions, bins, kinds=relation, backend=self.backend)
            sums = None
            if gains is not None:
                sums = soft_histogram(positions, bins, weights=gains.to(dtype), backend=self.backend).squeeze(1)
            losses, judged = self._losses(counts, relation, gains, sums)
            total = losses.sum()
            if self.reduction == "mean":
                total = total / judged.sum().clamp(min=1)
        return total.to(dtype)

    def _losses(
        self, counts: Tensor, relation: Tensor, gains: Tensor | None, sums: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(A,) one minus the metric, 0 without a positive; and (A,) bool, which have one."""
        relevant, count = counts[:, 2], counts[:, 0] + counts[:, 2]
        positives = (relation > 0).sum(1)
        judged = positives > 0
        if self.metric == "ap":
            precision = simplified_precision if self.form == "simplified" else expected_precision
            metric = precision(relevant, count, positives.clamp(min=1).double())
        elif gains is None or sums is None:
            metric = relaxed_gain(relevant, count) / ideal_gain(positives.clamp(min=1), relation.shape[1])
        else:
            metric = relaxed_gain(sums, count) / torch.where(judged, ideal_graded_gain(gains), 1.0)
        return torch.where(judged, 1 - metric, 0.0), judged

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)
