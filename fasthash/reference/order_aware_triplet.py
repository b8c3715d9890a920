# SPDX-License-Identifier: Apache-2.0
"""order_aware_triplet in plain PyTorch: the definition of the op."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.reference.hamming_distance import signs_to_distance, unpack_signs
from fasthash.types import REDUCTIONS, TIES, WEIGHTINGS

_OP = "order_aware_triplet"
_LAST = torch.iinfo(torch.int32).max


class _Side(NamedTuple):
    """The positives (or negatives) of every anchor, padded to the longest list."""

    items: Tensor  # (A, L) int64, positions in the row
    valid: Tensor  # (A, L) bool, False for padding


class _Ranking(NamedTuple):
    """Of each item, all (A, M); items with relation 0 come last."""

    place: Tensor  # int64, from 0
    rank: Tensor  # from 1; an average where items tie
    positives: Tensor  # positives before it; where items tie, before them all
    partial: Tensor  # the sum of their 1 / rank


def order_aware_triplet(
    distances: Tensor,
    relation: Tensor,
    anchor_codes: Tensor,
    item_codes: Tensor,
    *,
    margin: float,
    weighting: str = "delta_ap",
    squared: bool = True,
    reduction: str = "mean",
    normalize: bool = True,
    ties: str = "index",
    gains: Tensor | None = None,
) -> Tensor:
    """Triplet loss over all (anchor, positive, negative), each weighted by what its swap does to the ranking.

    Every anchor ranks its items by (Hamming distance of the codes, distance in float32, index). A triplet weighs
    `omega = |delta AP|`, the change of the anchor's average precision when p and n swap places, or that of its NDCG,
    or `|1 / r_p - 1 / r_n|`, divided by its mean over the anchor's triplets:

        L = sum omega_hat * max(0, margin + d_ap - d_an)^e / count,   e = 2 if squared else 1

    With ranks r, `C_t` positives among the first t, `R_t = sum over u <= t of rel_u / u`, each item has one potential
    and `N+ |delta AP|` is a difference of two: `(R_n - C_n/r_n) - (R_p - C_p/r_p)` where the positive stands first,
    `(R_p - (C_p+1)/r_p) - (R_n - (C_n+1)/r_n)` where the negative does. For NDCG it is `-1 / log2(1 + r)`, the
    difference is multiplied by the gain of p, and the ideal DCG that divides it has the gains in falling order. No
    gradient flows through ranks and weights.
    Memory is O(A * P * N) for the longest lists of positives and negatives.

    Args:
        distances: (A, M) float32, float64, bfloat16 or float16; half precisions are computed in float32.
        relation: (A, M) int8: > 0 positive, < 0 negative, 0 left out of triplets and ranking.
        anchor_codes: (A, W) uint8 packed codes.
        item_codes: (M, W) uint8 packed codes.
        margin: finite margin in the unit of `distances`.
        weighting: `delta_ap`, `delta_ndcg`, `rank_difference` or `none` (every triplet weighs 1).
        squared: square the hinge.
        reduction: `mean` divides by the number of triplets, `avg_nonzero` by those with a positive hinge, `sum` by 1.
        normalize: False leaves omega as it is.
        ties: items of equal Hamming distance stand in the order (distance, `index`), or all at their `mean` rank.
        gains: (A, M) float32 gains of the positives for `delta_ndcg`, finite and >= 0; None for 1 each.

    Returns:
        () float32, or float64 for float64 distances. Zero with zero gradient where no triplet is valid; NaN where a
        triplet holds one.

    Raises:
        ValueError: wrong dtype, shape, device or option, or an empty batch.

    Source:
        After Chen et al., "Improving Deep Binary Embedding Networks by Order-aware Reweighting of Triplets", arXiv
        1804.06061: weights from the rank order of binary codes and the squared hinge are theirs; the weights'
        formulas, their normalisation and the order of ties are this library's own definition.
    """
    _check(distances, relation, anchor_codes, item_codes)
    _checks.require_finite_number(_OP, "margin", margin)
    _checks.require_choice(_OP, "weighting", weighting, WEIGHTINGS)
    _checks.require_choice(_OP, "reduction", reduction, REDUCTIONS)
    _checks.require_choice(_OP, "ties", ties, TIES)
    _check_gains(gains, distances, weighting)
    if distances.dtype != torch.float64:
        distances = distances.float()
    positives, negatives = _side(relation > 0), _side(relation < 0)
    valid = positives.valid.unsqueeze(2) & negatives.valid.unsqueeze(1)  # (A, P, N)
    hinge = torch.relu(margin + _gather(distances, positives).unsqueeze(2) - _gather(distances, negatives).unsqueeze(1))
    hinge = hinge.masked_fill(~valid, 0.0)
    values = hinge.square() if squared else hinge
    if weighting != "none":
        ranking = _rank(distances.detach(), relation, anchor_codes, item_codes, ties == "mean")
        relevance = (
            (relation > 0).to(distances.dtype) if gains is None else _relevance(gains, relation, distances.dtype)
        )
        omega, factor = _weights(ranking, positives, negatives, valid, weighting, relevance)
        if normalize:
            mean = omega.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
            factor = torch.where(mean > 0, mean, torch.ones_like(mean)).reciprocal()
        values = values * omega * factor.view(-1, 1, 1)
    return values.sum() / _divisor(reduction, valid, hinge)


def _check(distances: Tensor, relation: Tensor, anchor_codes: Tensor, item_codes: Tensor) -> None:
    _checks.require_dtype(_OP, "distances", distances, _checks.FLOATS)
    shaped = distances.dim() == 2 and distances.numel() > 0
    _checks.require(shaped, _OP, "distances", "of shape (anchors, items) and not empty", tuple(distances.shape))
    _checks.require_dtype(_OP, "relation", relation, (torch.int8,))
    like = f"of shape {tuple(distances.shape)} like distances"
    _checks.require(relation.shape == distances.shape, _OP, "relation", like, tuple(relation.shape))
    anchors, items = distances.shape
    for name, codes, rows in (("anchor_codes", anchor_codes, anchors), ("item_codes", item_codes, items)):
        _checks.require_packed(_OP, name, codes)
        fits = codes.shape[0] == rows and codes.shape[1] == anchor_codes.shape[1]
        _checks.require(fits, _OP, name, f"of shape ({rows}, {anchor_codes.shape[1]})", tuple(codes.shape))
    for name, tensor in (("relation", relation), ("anchor_codes", anchor_codes), ("item_codes", item_codes)):
        _checks.require_same_device(_OP, name, tensor, distances.device)


def _check_gains(gains: Tensor | None, distances: Tensor, weighting: str) -> None:
    if gains is None:
        return
    _checks.require(weighting == "delta_ndcg", _OP, "gains", "None where weighting is not delta_ndcg", "a tensor")
    _checks.require_dtype(_OP, "gains", gains, (torch.float32,))
    like = f"of shape {tuple(distances.shape)} like distances"
    _checks.require(gains.shape == distances.shape, _OP, "gains", like, tuple(gains.shape))
    _checks.require_same_device(_OP, "gains", gains, distances.device)


def _side(chosen: Tensor) -> _Side:
    """The positions of True in each row of (A, M), as padded lists."""
    length = int(chosen.sum(1).max())
    items = chosen.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :length]
    return _Side(items, chosen.gather(1, items))


def _gather(distances: Tensor, side: _Side) -> Tensor:
    """(A, L) distances of one side; padding is 0, so that NaN in items left out cannot reach the loss."""
    return distances.gather(1, side.items).masked_fill(~side.valid, 0.0)


def _rank(distances: Tensor, relation: Tensor, anchor_codes: Tensor, item_codes: Tensor, averaged: bool) -> _Ranking:
    hamming = signs_to_distance(unpack_signs(anchor_codes), unpack_signs(item_codes))
    hamming = hamming.masked_fill(relation == 0, _LAST)
    by_distance = distances.float().sort(dim=1, stable=True).indices
    ranked, by_hamming = hamming.gather(1, by_distance).sort(dim=1, stable=True)
    order = by_distance.gather(1, by_hamming)
    first = torch.arange(order.shape[1], device=order.device).expand(order.shape)
    last = first + 1
    if averaged:
        first, last = (torch.searchsorted(ranked, ranked, side=side) for side in ("left", "right"))
    rank = (first + last + 1).to(distances.dtype) / 2
    relevant = (relation.gather(1, order) > 0).to(distances.dtype)
    count, partial = ((sums.cumsum(1) - sums).gather(1, first) for sums in (relevant, relevant / rank))
    place = order.argsort(dim=1)
    return _Ranking(place, *(values.gather(1, place) for values in (rank, count, partial)))


def _relevance(gains: Tensor, relation: Tensor, dtype: torch.dtype) -> Tensor:
    """(A, M) gains of the positives over the highest of the row, as only proportions count; 0 for all others."""
    kept = gains.detach().double().clamp(min=0).masked_fill(relation <= 0, 0.0)
    highest = kept.amax(1, keepdim=True)
    return (kept / torch.where(highest == 0, 1.0, highest)).to(dtype)


def _weights(
    ranking: _Ranking, positives: _Side, negatives: _Side, valid: Tensor, weighting: str, relevance: Tensor
) -> tuple[Tensor, Tensor]:
    """(A, P, N) omega but for a factor, and the factor (A,)."""
    place, rank, count, partial = ranking
    total = positives.valid.sum(1).clamp(min=1)
    if weighting == "delta_ap":
        first = partial - count / rank  # potential where the positive stands first
        second = partial - (count + 1) / rank
        factor = total.to(rank.dtype).reciprocal()
    elif weighting == "delta_ndcg":
        first = second = -1 / torch.log2(rank + 1)
        ranks = torch.arange(1, rank.shape[1] + 1, dtype=rank.dtype, device=rank.device)
        ideal = (relevance.sort(dim=1, descending=True).values / torch.log2(ranks + 1)).sum(1)
        factor = torch.where(ideal == 0, 1.0, ideal).reciprocal()
    else:
        first = second = -1 / rank
        factor = torch.ones_like(rank[:, 0])
    p, n = positives.items, negatives.items
    in_order = place.gather(1, p).unsqueeze(2) < place.gather(1, n).unsqueeze(1)
    when_in_order = first.gather(1, n).unsqueeze(1) - first.gather(1, p).unsqueeze(2)
    when_not = second.gather(1, p).unsqueeze(2) - second.gather(1, n).unsqueeze(1)
    omega = torch.where(in_order, when_in_order, when_not)
    if weighting == "delta_ndcg":
        omega = omega * relevance.gather(1, p).unsqueeze(2)
    return omega.masked_fill_(~valid, 0.0), factor


def _divisor(reduction: str, valid: Tensor, hinge: Tensor) -> Tensor | int:
    if reduction == "sum":
        return 1
    return (valid if reduction == "mean" else hinge.detach() > 0).sum().clamp(min=1)
