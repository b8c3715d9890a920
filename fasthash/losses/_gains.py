# SPDX-License-Identifier: Apache-2.0
"""Gains of NDCG where items are related to a degree."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash._autocast import without_autocast
from fasthash._labels import as_comparable


def gains_of(
    relation: Tensor, labels: Tensor | None, ref_labels: Tensor | None, similarity: Tensor | None
) -> Tensor | None:
    """(A, M) float64 gains `2^a - 1` over 2 to the highest a of the row, as NDCG allows; None where all are equal.

    Args:
        relation: (A, M) int8 of these labels or this similarity; what is not positive has the gain 0.
        labels: (A,) ids, of which items share one at most, or (A, C) multi-hot rows: a is the number of shared labels.
        ref_labels: (M, C) of the items, or None for those of the anchors.
        similarity: (A, M) of any dtype in place of labels: a is its entry.
    """
    shared = _shared_labels(labels, ref_labels) if similarity is None else similarity.detach().double()
    if shared is None:
        return None
    kept = torch.where(relation > 0, shared, 0.0)
    highest = kept.amax(1, keepdim=True)
    return torch.exp2(kept - highest) - torch.exp2(-highest)


def _shared_labels(labels: Tensor | None, ref_labels: Tensor | None) -> Tensor | None:
    if labels is None or labels.dim() == 1:
        return None
    rows = as_comparable(labels)
    others = rows if ref_labels is None else as_comparable(ref_labels)
    with without_autocast(rows):
        return (rows @ others.T).double()
