# SPDX-License-Identifier: Apache-2.0
"""Triplet losses over all, semi-hard or hardest triplets of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from fasthash import _checks, ops, reference
from fasthash.losses._distances import DISTANCES, distance_matrix, in_working_dtype, pair_distances
from fasthash.losses._inputs import check_embeddings, gather_alone, relation_of, shown_options
from fasthash.losses._margin import HasMargin
from fasthash.losses._renamed import OF_BASE, refuse_options
from fasthash.losses._sums import total
from fasthash.losses.relation import check_index
from fasthash.types import REDUCTIONS

_BACKENDS = {"fused": ops, "reference": reference}
_INSTEAD = {**OF_BASE, "reducer": "reduction='avg_nonzero', 'mean' or 'sum' is AvgNonZero-, Mean- or SumReducer()"}


class _TripletLoss(HasMargin, nn.Module):
    """What the triplet losses share: distances, relation, op. A subclass says which triplets count."""

    margin: float
    _mining = "all"

    def __init__(
        self,
        margin: float,
        swap: bool,
        smooth_loss: bool,
        distance: str,
        normalize_embeddings: bool,
        reduction: str,
        check_finite: bool | None,
        gather: bool,
        backend: str,
    ) -> None:
        super().__init__()
        self._name = type(self).__name__
        self.set_margin(margin)
        _checks.require_choice(self._name, "distance", distance, DISTANCES)
        _checks.require_choice(self._name, "reduction", reduction, REDUCTIONS)
        _checks.require_choice(self._name, "backend", backend, tuple(_BACKENDS))
        self.swap = swap
        self.smooth_loss = smooth_loss
        self.distance = distance
        self.normalize_embeddings = normalize_embeddings
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
            embeddings: (A, K) of the anchors, any floating dtype; computed in float32 (float64 stays).
            labels: (A,) integer class ids or (A, C) multi-hot rows. Not looked at where `indices_tuple` is given.
            indices_tuple: what a miner returns. Triplets `(a, p, n)` are taken as they are, each once for every time
                that it is listed. Pairs `(a1, p, a2, n)` stand for the triplets that join them, among which this loss
                chooses; a pair that is listed twice counts once.
            ref_emb: (M, K) items to compare with; None compares the anchors with one another, none with itself.
            ref_labels: labels of `ref_emb`, of the same kind as `labels`.
            similarity: (A, M) matrix in place of labels; an entry > 0 means similar, any other dissimilar.

        Returns:
            () float32, or float64 for float64 embeddings. 0 with zero gradient where there is no triplet.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, values that are not finite, no labels, labels and a
                similarity at once, `swap` with `ref_emb`, `gather` with anything but embeddings and labels.
            RuntimeError: `gather` without a process group.
        """
        check_embeddings(self._name, embeddings, ref_emb, self.check_finite)
        if self.gather:
            embeddings, labels = gather_alone(self._name, embeddings, labels, indices_tuple, ref_emb, similarity)
        _checks.require(not self.swap or ref_emb is None, self._name, "ref_emb", "None where swap is set", "a tensor")
        squared = self.distance == "sqeuclidean"
        a = in_working_dtype(embeddings, self.normalize_embeddings)
        b = None if ref_emb is None else in_working_dtype(ref_emb, self.normalize_embeddings).to(a.dtype)
        if indices_tuple is not None and len(indices_tuple) == 3:
            return self._of_triplets(a, b, indices_tuple, squared)
        given = (labels, indices_tuple, ref_emb, ref_labels, similarity)
        relation = relation_of(self._name, embeddings, *given, check_finite=self.check_finite)
        distances = distance_matrix(a, b, squared=squared, backend=self.backend)
        loss: Tensor = _BACKENDS[self.backend].triplet_margin(
            distances,
            relation,
            margin=self.margin,
            mining=self._mining,
            swap=self.swap,
            smooth=self.smooth_loss,
            reduction=self.reduction,
        )
        return loss

    def _of_triplets(self, a: Tensor, b: Tensor | None, indices_tuple: Sequence[Tensor], squared: bool) -> Tensor:
        """The loss of the triplets that a miner names, one by one."""
        anchors, positives, negatives = indices_tuple
        items = a if b is None else b
        reading = a.device.type == "cpu" and not torch.compiler.is_compiling()
        for name, index, size in (("a", anchors, len(a)), ("p", positives, len(items)), ("n", negatives, len(items))):
            check_index(self._name, name, index, size, length=len(anchors), values=reading)
        few = not torch.compiler.is_compiling() and len(anchors) * a.shape[1] <= len(a) * len(items)
        matrix = None if few else distance_matrix(a, b, squared=squared, backend=self.backend)

        def between(rows: Tensor, columns: Tensor) -> Tensor:
            if matrix is None:
                return pair_distances(a, items, rows, columns, squared=squared)
            return matrix[rows, columns]

        to_negative = between(anchors, negatives)
        if self.swap:
            to_negative = torch.minimum(to_negative, between(positives, negatives))
        x = between(anchors, positives) - to_negative + self.margin
        values = softplus(x) if self.smooth_loss else torch.relu(x)
        if self.reduction == "sum":
            return total(values)
        if self.reduction == "mean":
            return total(values) / max(len(values), 1)
        return total(values) / (values.detach() > 0).sum().clamp(min=1)

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)


class TripletMarginLoss(_TripletLoss):
    """Hinge over all triplets of a batch, with the defaults of pytorch-metric-learning's loss of this name.

        L = sum over (a, p, n) of max(0, D(a, p) - D(a, n) + margin) / #{triplets above 0}

    D is the Euclidean distance of embeddings of length 1, between 0 and 2. Every positive of an anchor meets every
    negative, B^3 triplets in time O(B^2 log B) and memory O(B^2); see `fasthash.ops.triplet_margin`.

    Args:
        margin: in units of D. Below 0 it is what a negative may be nearer than a positive at no cost.
        swap: take the smaller of D(a, n) and D(p, n). Costs time B^3, without memory for it.
        smooth_loss: log(1 + exp(x)) in place of max(0, x). Costs time B^3 likewise.
        triplets_per_anchor: `all`. To train on fewer, pass a miner's `indices_tuple`.
        distance: `euclidean`, or `sqeuclidean`: squared, for codes of ±1 four times the Hamming distance.
        normalize_embeddings: bring embeddings to length 1 first. Set False for relaxed codes in units of bits, and
            choose a margin in these units.
        reduction: `avg_nonzero`, `mean` over all triplets, or `sum`. With `smooth_loss` the first two are the same.
        check_finite: refuse NaN and infinity in embeddings, multi-hot labels and similarities; None does so on the CPU,
            but not on CUDA, where it would wait for the device, nor under `torch.compile`.
        gather: take the batch of all ranks; see `losses` about what that means for gradients.
        backend: `fused` is the compiled op. `reference` is plain PyTorch with O(B^3) memory, for `torch.func`, which
            cannot look into registered ops.
        theirs: other options of pytorch-metric-learning's loss; the error says what stands in place of each.

    Raises:
        ValueError: an option that is none of those named; what the call refuses is listed at `forward`.

    Source:
        Weinberger and Saul, JMLR 10 (2009); the swap, Balntas et al., BMVC 2016. Defaults, reduction and the form of
        the call are those of pytorch-metric-learning 2.9.

    Example:
        >>> loss_function = TripletMarginLoss()
        >>> loss = loss_function(embeddings, labels)
    """

    def __init__(
        self,
        margin: float = 0.05,
        swap: bool = False,
        smooth_loss: bool = False,
        triplets_per_anchor: str = "all",
        *,
        distance: str = "euclidean",
        normalize_embeddings: bool = True,
        reduction: str = "avg_nonzero",
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
        **theirs: object,
    ) -> None:
        refuse_options("TripletMarginLoss", theirs, _INSTEAD)
        super().__init__(
            margin, swap, smooth_loss, distance, normalize_embeddings, reduction, check_finite, gather, backend
        )
        every = triplets_per_anchor == "all"
        _checks.require(every, self._name, "triplets_per_anchor", "'all'", repr(triplets_per_anchor))


class TripletSemiHardLoss(_TripletLoss):
    """Hinge of every positive with its semi-hard negative, as FaceNet trains and sentence-transformers defines it.

        L = mean over pairs (a, p) of max(0, D(a, p) - D(a, n) + margin)

    n is the nearest negative of the anchor that is farther away than p; where there is none, the farthest negative.
    The choice is a constant to the gradient. Values and gradients are those of sentence-transformers'
    BatchSemiHardTripletLoss with the same margin, but for batches of one class, where that goes on with a distance that
    belongs to no negative, and this loss is 0.

    Args:
        margin: in units of D.
        smooth_loss: log(1 + exp(x)) in place of max(0, x).
        distance: `euclidean` or `sqeuclidean` (FaceNet's).
        normalize_embeddings: bring embeddings to length 1 first; FaceNet does, sentence-transformers leaves it to the
            model.
        reduction: `mean` over the pairs, `avg_nonzero` or `sum`.
        check_finite: see `TripletMarginLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there; memory is O(B^2) with either.

    Raises:
        ValueError: an option that is none of those named; what the call refuses is listed at `forward`.

    Source: Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, in the form of TensorFlow Addons.
    """

    _mining = "semi_hard"

    def __init__(
        self,
        margin: float = 0.2,
        smooth_loss: bool = False,
        *,
        distance: str = "euclidean",
        normalize_embeddings: bool = True,
        reduction: str = "mean",
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(
            margin, False, smooth_loss, distance, normalize_embeddings, reduction, check_finite, gather, backend
        )


class TripletHardLoss(_TripletLoss):
    """Hinge of every anchor's farthest positive with its nearest negative ("batch hard").

        L = mean over anchors of max(0, max_p D(a, p) - min_n D(a, n) + margin)

    Anchors without a positive or without a negative are left out. `smooth_loss=True` with margin 0 is the soft margin
    of the paper.

    Args:
        margin: in units of D.
        smooth_loss: log(1 + exp(x)) in place of max(0, x).
        distance: `euclidean` or `sqeuclidean`.
        normalize_embeddings: bring embeddings to length 1 first.
        reduction: `mean` over the anchors, `avg_nonzero` or `sum`.
        check_finite: see `TripletMarginLoss`, as `gather` and `backend`.
        gather: see there.
        backend: see there; memory is O(B^2) with either.

    Raises:
        ValueError: an option that is none of those named; what the call refuses is listed at `forward`.

    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", arXiv 1703.07737.
    """

    _mining = "hard"

    def __init__(
        self,
        margin: float = 0.2,
        smooth_loss: bool = False,
        *,
        distance: str = "euclidean",
        normalize_embeddings: bool = True,
        reduction: str = "mean",
        check_finite: bool | None = None,
        gather: bool = False,
        backend: str = "fused",
    ) -> None:
        super().__init__(
            margin, False, smooth_loss, distance, normalize_embeddings, reduction, check_finite, gather, backend
        )
