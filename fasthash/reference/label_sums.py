# SPDX-License-Identifier: Apache-2.0
"""label_sums in plain PyTorch: the definition of the op."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash._labels import as_ids
from fasthash.types import LabelSums

_OP = "label_sums"


def label_sums(values: Tensor, labels: Tensor, query_labels: Tensor) -> LabelSums:
    """Sum and number of the items that share a label with each query, by the whole matrix of relations.

    Args:
        values: (M, K) float32, float64, bfloat16, float16 or int8.
        labels: (M,) ids of any integer dtype, or (M, C) uint8 packed multi-hot rows.
        query_labels: (A,) or (A, C), of the same kind.

    Returns:
        `LabelSums`: sums (A, K) float64 and counts (A,) int64.

    Raises:
        ValueError: an argument is not what is described above.
    """
    _checks.require_dtype(_OP, "values", values, (*_checks.FLOATS, torch.int8))
    related = related_labels(_OP, labels, query_labels)
    _checks.require(len(values) == len(labels), _OP, "labels", f"of length {len(values)} like values", len(labels))
    # Item after item: a matrix product adds up in an order of its own, and a NaN would reach every query.
    zero = values.new_zeros((), dtype=torch.float64)
    sums = values.new_zeros((len(query_labels), values.shape[1]), dtype=torch.float64)
    for item, row in zip(related.T, values.double(), strict=True):
        sums = sums + torch.where(item.unsqueeze(1), row, zero)
    return LabelSums(sums, related.sum(1))


def related_labels(op: str, labels: Tensor, query_labels: Tensor) -> Tensor:
    """(A, M) bool: which items share a label with which query."""
    labels, query_labels = as_ids(labels), as_ids(query_labels)
    for name, tensor in (("labels", labels), ("query_labels", query_labels)):
        _checks.require(tensor.dim() in (1, 2), op, name, "1-D ids or 2-D packed multi-hot rows", tuple(tensor.shape))
        _checks.require_dtype(op, name, tensor, (torch.int64 if tensor.dim() == 1 else torch.uint8,))
    alike = labels.shape[1:] == query_labels.shape[1:]
    kind = f"of the kind and width of labels {tuple(labels.shape)}"
    _checks.require(alike, op, "query_labels", kind, tuple(query_labels.shape))
    if labels.dim() == 1:
        return query_labels.unsqueeze(1) == labels.unsqueeze(0)
    related = torch.zeros(len(query_labels), len(labels), dtype=torch.bool, device=labels.device)
    for asked, own in zip(query_labels.T, labels.T, strict=True):
        related |= (asked.unsqueeze(1) & own.unsqueeze(0)) != 0
    return related
