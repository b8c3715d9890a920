# SPDX-License-Identifier: Apache-2.0
"""Losses over pairs of a batch with itself or with a bank: value and gradient in one walk over the bank.

No (A, M, K) tensor exists, and no (A, M) matrix is kept for backward, which needs (A, K) and (M, K). On the CPU pairs
by labels are one operator, `ops.pairwise_similarity_loss`. Pairs of a relation, and those on CUDA,
are walked here, piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash._autocast import without_autocast
from fasthash._labels import as_comparable, shares_label
from fasthash.losses._class_softmax import Undifferentiable
from fasthash.losses._distributed import gather_batch
from fasthash.losses._inputs import check_embeddings, check_labels, packed_labels, relation_of, shown_options
from fasthash.losses._sums import total

_PIECE = 1 << 16  # pairs that are looked at together: 256 KiB for each matrix
_BACKENDS = ("fused", "reference")


class Rule(NamedTuple):
    """What a pair costs.

    Attributes:
        scale: factor on inner products before all else.
        values: from scaled products, or squared distances, and similarities, in operations that can be differentiated.
        with_slopes: values and their slopes; both arguments may be overwritten.
        name, threshold, smallest: the same rule as `ops.pairwise_similarity_loss` has it.
    """

    scale: float
    values: Callable[[Tensor, Tensor], Tensor]
    with_slopes: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    name: str
    threshold: float = 1.0
    smallest: float = 1.0


class Balance(NamedTuple):
    """How similar pairs and others are weighted, as `ops.pairwise_similarity_loss` describes it."""

    kind: str = "none"
    cohesion: float = 1.0
    normalize: bool = False


class Pairs(NamedTuple):
    """What is known of the pairs (A, M), from labels of both sides or a relation.

    Attributes:
        labels: comparable labels of anchors and items, or None.
        relation: (A, M) int8, 1 for similar pairs, -1 for others, 0 for those left out, where there are no labels.
        alone: whether a batch is compared with itself: labels then leave out the diagonal.
        heavy, light: () weights of similar pairs and of others.
        balanced: whether these differ.
        graded: rows of length 1 whose products are similarities, in place of 1 and 0, or None.
    """

    labels: tuple[Tensor, Tensor] | None
    relation: Tensor | None
    alone: bool
    heavy: Tensor
    light: Tensor
    balanced: bool
    graded: tuple[Tensor, Tensor] | None = None

    def piece(self, of: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Similarities and weights (A, m) of some items; the weight is () where it is the same for all."""
        if self.labels is not None:
            similar = shares_label(self.labels[0], self.labels[1][of]).to(dtype)
            weights = similar * (self.heavy - self.light) + self.light if self.balanced else self.light
        else:
            assert self.relation is not None
            signs = self.relation[:, of].to(dtype)
            similar = signs.clamp(min=0)
            weights = similar * self.heavy + (similar - signs) * self.light
        if self.graded is not None:
            similar = self.graded[0] @ self.graded[1][of].T
            rounding = 8 * torch.finfo(dtype).eps  # the same labels on both sides are 1, whatever their number
            similar = torch.where(similar > 1 - rounding, torch.ones_like(similar), similar)
        return similar, weights

    def counts(self, anchors: int, items: int) -> tuple[Tensor | int, Tensor]:
        """The number of pairs, and of similar ones."""
        if self.labels is not None:
            similar = torch.zeros((), dtype=torch.int64, device=self.labels[0].device)
            for of in _pieces(anchors, items):
                similar = similar + torch.count_nonzero(shares_label(self.labels[0], self.labels[1][of]))
            return anchors * items - anchors * self.alone, similar - self._own()
        assert self.relation is not None
        count = torch.count_nonzero(self.relation)
        return count, (count + self.relation.sum()) // 2

    def _own(self) -> Tensor | int:
        """Items that share a label with themselves, which are no pairs: all but rows without a label."""
        if not self.alone:
            return 0
        assert self.labels is not None
        own = self.labels[0]
        return len(own) if own.dim() == 1 else torch.count_nonzero((own > 0).any(1))


class PairwiseLoss(nn.Module):
    """Base: the weighted mean of a rule over all pairs of anchors and items, and a quantization term.

    Args:
        check_finite: refuse NaN and infinity in embeddings, multi-hot labels and similarities; None does so on the CPU,
            but not on CUDA, where it would wait for the device, nor under `torch.compile`.
        gather: join the batches of all ranks of a distributed run first, see `losses._distributed`.
        backend: `fused`, or `reference` in plain PyTorch for double backward and `torch.func`.
    """

    def __init__(self, check_finite: bool | None, gather: bool, backend: str) -> None:
        super().__init__()
        _checks.require_choice(self._name, "backend", backend, _BACKENDS)
        self.check_finite = check_finite
        self.gather = gather
        self.backend = backend

    @property
    def _name(self) -> str:
        return type(self).__name__

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
            embeddings: (A, K), any floating dtype; computed in float32 (float64 stays).
            labels: (A,) integer class ids or (A, C) multi-hot rows. Not looked at where `indices_tuple` is given.
            indices_tuple: pairs `(a1, p, a2, n)` of a miner, or triplets `(a, p, n)` for the pairs (a, p) and (a, n);
                see `relation_from_indices`.
            ref_emb: (M, K) items, such as a bank, to compare with, computed in the dtype of the embeddings; None
                compares the batch with itself, none of its items with itself.
            ref_labels: labels of `ref_emb`, of the same kind as `labels`.
            similarity: (A, M) matrix in place of labels; an entry > 0 means similar, any other dissimilar.

        Returns:
            () float32, or float64 for float64 embeddings; 0 with zero gradient where there is no pair.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, values that are not finite, no labels, or labels and
                a similarity at once; with `gather`, anything but labels, or ranks with batches of different sizes.
        """
        check_embeddings(self._name, embeddings, ref_emb, self.check_finite)
        if self.gather:
            alone = indices_tuple is None and ref_emb is None and similarity is None and labels is not None
            _checks.require(alone, self._name, "gather", "False where pairs come from other than labels", True)
            assert labels is not None
            embeddings, labels = gather_batch(self._name, embeddings, labels)
        alone = ref_emb is None
        by_labels, relation = None, None
        if indices_tuple is None and similarity is None:
            labels = check_labels(self._name, labels, ref_labels, embeddings, ref_emb, self.check_finite)
            by_labels = (labels, labels if ref_labels is None else ref_labels)
        else:
            given = (labels, indices_tuple, ref_emb, ref_labels, similarity)
            relation = relation_of(self._name, embeddings, *given, check_finite=self.check_finite)
        with without_autocast(embeddings):
            x = _wide(embeddings)
            y = x if ref_emb is None else ref_emb.to(x.dtype)
            return self._pairs(x, y, alone, by_labels, relation) + self._quantization(x, y)

    def _pairs(
        self, x: Tensor, y: Tensor, alone: bool, labels: tuple[Tensor, Tensor] | None, relation: Tensor | None
    ) -> Tensor:
        if labels is not None and self.backend == "fused" and not x.is_cuda:
            return self._in_one(x, y, alone, labels)
        return self._walked(x, y, alone, labels, relation)

    def _walked(
        self, x: Tensor, y: Tensor, alone: bool, labels: tuple[Tensor, Tensor] | None, relation: Tensor | None = None
    ) -> Tensor:
        comparable = None if labels is None else (as_comparable(labels[0]), as_comparable(labels[1]))
        one = x.new_ones(())
        return self._mean(x, y, self._weighted(Pairs(comparable, relation, alone, one, one, False), x, y))

    def _in_one(self, x: Tensor, y: Tensor, alone: bool, labels: tuple[Tensor, Tensor]) -> Tensor:
        rule, balance = self._rule(x.shape[1]), self._balance
        return ops.pairwise_similarity_loss(
            x,
            packed_labels(self._name, labels[0]),
            None if alone else y,
            None if alone else packed_labels(self._name, labels[1]),
            rule=rule.name,
            scale=rule.scale,
            threshold=rule.threshold,
            smallest=rule.smallest,
            balance=balance.kind,
            cohesion=balance.cohesion,
            normalize=balance.normalize,
        )

    def _mean(self, x: Tensor, y: Tensor, pairs: Pairs) -> Tensor:
        """The rule's weighted mean; overridden where embeddings are changed first."""
        return mean_of_pairs(x, y, pairs, self._rule(x.shape[1]), self._of_distances, self.backend == "fused")

    _of_distances = False
    _balance = Balance()

    def _rule(self, bits: int) -> Rule:
        raise NotImplementedError

    def _weighted(self, pairs: Pairs, x: Tensor, y: Tensor) -> Pairs:
        """The pairs with their weights."""
        if self._balance.kind != "none":
            return balanced(pairs, x, y, self._balance)
        if pairs.labels is not None:
            weight = x.new_full((), 1 / max(len(x) * len(y) - len(x) * pairs.alone, 1))
        else:
            weight = torch.as_tensor(pairs.counts(len(x), len(y))[0]).clamp(min=1).to(x.dtype).reciprocal()
        return pairs._replace(heavy=weight, light=weight)

    def _quantization(self, x: Tensor, y: Tensor) -> Tensor | float:
        return 0.0

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)


def balanced(pairs: Pairs, x: Tensor, y: Tensor, balance: Balance) -> Pairs:
    """Weights |S| / |S_1| of similar pairs and |S| / |S_0| of others, over |S|; 1 / |S| where one kind has no pair.

    Args:
        pairs: without weights.
        x: (A, K) anchors.
        y: (M, K) items.
        balance: not of kind `none`.
    """
    both, similar = pairs.counts(len(x), len(y))
    count, of_similar = torch.as_tensor(both, device=x.device).to(x.dtype), similar.to(x.dtype)
    of_other = count - of_similar
    mixed = (of_similar > 0) & (of_other > 0)
    heavy = torch.where(mixed, count / of_similar.clamp(min=1), 1) * balance.cohesion
    light = torch.where(mixed & (balance.kind == "both"), count / of_other.clamp(min=1), 1)
    total = heavy * of_similar + light * of_other if balance.normalize else count
    total = torch.where(total > 0, total, 1)
    return pairs._replace(heavy=heavy / total, light=light / total, balanced=True)


def mean_of_pairs(x: Tensor, y: Tensor, pairs: Pairs, rule: Rule, of_distances: bool, fused: bool) -> Tensor:
    """`sum of w_ij rule(<x_i, y_j>)`, or of `rule(|x_i - y_j|^2)`.

    Args:
        x: (A, K) float32 or float64.
        y: (M, K) of the same dtype.
        pairs: similarities and weights (A, M).
        rule: gives values and slopes; only values are used where not `fused`.
        of_distances: of squared distances in place of inner products.
        fused: with a gradient that is ready after forward, not to be differentiated again.
    """
    if not fused or torch.compiler.is_compiling():  # which fuses by itself
        similar, weights = pairs.piece(slice(None), x.dtype)
        values = rule.values(_products(x, y, rule.scale, of_distances), similar) * weights
        if pairs.alone and pairs.labels is not None:
            values = values - values.diagonal().diag()
        return total(values)
    needed = torch.is_grad_enabled()
    loss: Tensor = _MeanOfPairs.apply(  # type: ignore[no-untyped-call]
        x, y, pairs, rule, of_distances, (needed and x.requires_grad, needed and y.requires_grad)
    )
    return loss


def _products(x: Tensor, y: Tensor, scale: float, of_distances: bool) -> Tensor:
    if not of_distances:
        return (x * scale) @ y.T
    norms = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return torch.addmm(norms, x, y.T, alpha=-2).clamp(min=0)


class _MeanOfPairs(torch.autograd.Function):
    """With slopes g: d / d x_i is `sum over j of g_ij y_j`, or `2 sum over j of g_ij (x_i - y_j)`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        pairs: Pairs,
        rule: Rule,
        of_distances: bool,
        needed: tuple[bool, bool],
    ) -> Tensor:
        loss = x.new_zeros(())
        of_x = torch.zeros_like(x) if needed[0] else None
        of_y = torch.zeros_like(y) if needed[1] else None
        scale = -2.0 if of_distances else rule.scale
        for piece in _pieces(len(x), len(y)):
            items = y[piece]
            similar, weights = pairs.piece(piece, x.dtype)
            values, slopes = rule.with_slopes(_products(x, items, rule.scale, of_distances), similar)
            if pairs.alone and pairs.labels is not None:
                values.diagonal(-piece.start).zero_()
                slopes.diagonal(-piece.start).zero_()
            if weights.dim() == 2:
                slopes.mul_(weights)
                loss = loss + total(values.mul_(weights))
            else:
                loss = loss + total(values)
            if of_x is not None:
                of_x = torch.addmm(of_x, slopes, items, alpha=scale)
                if of_distances:
                    of_x = torch.addcmul(of_x, slopes.sum(1, keepdim=True), x, value=2)
            if of_y is not None:
                part = scale * (slopes.T @ x)
                if of_distances:
                    part = torch.addcmul(part, slopes.sum(0).unsqueeze(1), items, value=2)
                of_y[piece] = part
        if pairs.labels is not None and not pairs.balanced:
            loss = loss * pairs.light
            of_x, of_y = (None if part is None else part.mul_(pairs.light) for part in (of_x, of_y))
        ctx.save_for_backward(of_x, of_y, x, y)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_y, x, y = ctx.saved_tensors
        found: list[Tensor | None] = []
        for saved, source in ((of_x, x), (of_y, y)):
            if saved is None:
                found.append(None)
                continue
            with without_autocast(saved):
                gradient = saved * gradients[0]
            if torch.is_grad_enabled():  # create_graph=True
                gradient = Undifferentiable.apply(gradient, source)  # type: ignore[no-untyped-call]
            found.append(gradient)
        return (*found, None, None, None, None)


def _pieces(anchors: int, items: int) -> list[slice]:
    """Parts of the items."""
    size = max(64, _PIECE // max(anchors, 1))
    return [slice(first, first + size) for first in range(0, items, size)]


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
