# SPDX-License-Identifier: Apache-2.0
"""Who is whose positive: a relation (A, M) int8 from labels, from a similarity matrix or from mined indices.

A relation holds +1 for a positive, -1 for a negative and 0 for a pair to leave out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fasthash import _checks
from fasthash._labels import as_comparable, check_labels, shares_label


def relation_from_labels(
    labels: Tensor, ref_labels: Tensor | None = None, *, check_finite: bool | None = None
) -> Tensor:
    """Relation of anchors to items by their labels.

    Args:
        labels: (A,) integer class ids, equal ids are positive; or (A, C) multi-hot rows of any dtype, C > 1, where any
            entry > 0 sets the label and rows that share at least one are positive.
        ref_labels: (M,) or (M, C) labels of the items, of the same kind. None takes the anchors themselves as items,
            and leaves each out for itself.
        check_finite: refuse NaN in multi-hot rows; None does so on the CPU, but not under `torch.compile`.

    Returns:
        (A, M) int8.

    Raises:
        ValueError: floating-point ids, ids as a column (A, 1), more than two dimensions, labels of two kinds or two
            devices, or values that are not finite.
    """
    items = labels if ref_labels is None else ref_labels
    check_labels("relation_from_labels", ("labels", "ref_labels"), labels, items, check_finite)
    related = shares_label(as_comparable(labels), as_comparable(items))
    return _signed(related, exclude_self=ref_labels is None)


def relation_from_similarity(similarity: Tensor, *, exclude_self: bool, check_finite: bool | None = None) -> Tensor:
    """Relation from a matrix (A, M) of any dtype: an entry > 0 is positive, any other negative.

    So bool, {0, 1} and {-1, +1} matrices all mean the same. `exclude_self` leaves the diagonal out.
    `check_finite` is that of `relation_from_labels`.

    Raises:
        ValueError: not a matrix, or values that are not finite.
    """
    op, shape = "relation_from_similarity", tuple(similarity.shape)
    _checks.require(similarity.dim() == 2, op, "similarity", "of shape (anchors, items)", shape)
    if similarity.is_floating_point():
        _checks.require_finite(check_finite, op, "similarity", similarity)
    return _signed(similarity > 0, exclude_self=exclude_self)


def relation_from_indices(indices_tuple: Sequence[Tensor], anchors: int, items: int) -> Tensor:
    """Relation from what a miner of pytorch-metric-learning returns.

    A tuple of pairs `(a1, p, a2, n)` says anchor a1 has the positive p, anchor a2 the negative n; triplets `(a, p, n)`
    stand for the pairs (a, p) and (a, n), as in the pair losses of pytorch-metric-learning. A pair that is not named is
    left out, one that is named twice counts once. Which positive a triplet joined with which negative is lost: a loss
    over triplets joins each anchor's positives with all of its negatives.

    Args:
        indices_tuple: three or four 1-D integer tensors.
        anchors: A, the number of rows that the anchors' indices point into.
        items: M, the number of rows that the other indices point into.

    Returns:
        (A, M) int8.

    Raises:
        ValueError: not such a tuple, indices out of range, or a pair that is positive and negative at once. Under
            `torch.compile` these checks are skipped, as they read values.
    """
    op = "relation_from_indices"
    check_number(op, indices_tuple)
    a1, p, a2, n = indices_tuple if len(indices_tuple) == 4 else _as_pairs(indices_tuple)
    checking = not torch.compiler.is_compiling()
    if checking:
        for name, index, size in (("a1", a1, anchors), ("p", p, items), ("a2", a2, anchors), ("n", n, items)):
            check_index(op, name, index, size)
        for name, index, like, partner in (("p", p, "a1", a1), ("n", n, "a2", a2)):
            expected = f"of length {len(partner)} like {like}"
            _checks.require(len(index) == len(partner), op, f"indices_tuple ({name})", expected, len(index))
    positive = torch.zeros(anchors, items, dtype=torch.int8, device=a1.device).index_put((a1, p), _one(a1))
    negative = torch.zeros_like(positive).index_put((a2, n), _one(a2))
    if checking:
        both = int((positive & negative).sum())
        _checks.require(both == 0, op, "indices_tuple", "positive or negative for each pair", f"{both} pairs of both")
    return positive - negative


def _signed(related: Tensor, *, exclude_self: bool) -> Tensor:
    relation = related.to(torch.int8) * 2 - 1
    if not exclude_self:
        return relation
    place = torch.arange(relation.shape[0], device=relation.device)
    return relation.masked_fill(place.unsqueeze(1) == torch.arange(relation.shape[1], device=relation.device), 0)


def _one(index: Tensor) -> Tensor:
    return torch.ones((), dtype=torch.int8, device=index.device)


def _as_pairs(triplets: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    anchors, positives, negatives = triplets
    return anchors, positives, anchors, negatives


def check_number(op: str, indices_tuple: Sequence[Tensor]) -> None:
    """Refuses what is neither triplets nor pairs."""
    number = len(indices_tuple)
    _checks.require(number in (3, 4), op, "indices_tuple", "of 3 or 4 tensors", number)


def check_index(
    op: str, name: str, index: Tensor, size: int, *, length: int | None = None, values: bool = True
) -> None:
    """Refuses anything but a 1-D integer tensor of places.

    Args:
        op: name in the error text.
        name: which of a miner's tuple it is.
        index: the places.
        size: how many places there are.
        length: that the index has to have, or None.
        values: look at the places, too.
    """
    argument = f"indices_tuple ({name})"
    _checks.require_tensor(op, argument, index)
    fits = index.dim() == 1 and index.dtype in (torch.int32, torch.int64) and (length is None or len(index) == length)
    if not fits:
        expected = "a 1-D int64 tensor" if length is None else f"a 1-D int64 tensor of length {length}"
        got = f"{str(index.dtype).removeprefix('torch.')} of shape {tuple(index.shape)}"
        raise ValueError(f"{op}: {argument} must be {expected}, got {got}")
    if values and index.numel():
        low, high = (int(value) for value in index.aminmax())
        _checks.require(low >= 0 and high < size, op, argument, f"in 0..{size - 1}", f"{low}..{high}")
