# SPDX-License-Identifier: Apache-2.0
"""Labels: 1-D are class ids, 2-D are multi-hot rows; items are related where they share one."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor

from fasthash import _checks
from fasthash._autocast import without_autocast

_COLUMN = "ids (rows,) or multi-hot rows of two labels or more; pass labels.squeeze(1) for ids in a column"


def check_kind(op: str, name: str, labels: Tensor, check_finite: bool | None = None) -> None:
    """Refuses labels that are neither ids nor multi-hot rows, and NaN among the latter where checking is on.

    Ids that come as a column (rows, 1) are no multi-hot rows: all but 0 would be one label.
    """
    _checks.require_tensor(op, name, labels)
    shape = tuple(labels.shape)
    _checks.require(labels.dim() in (1, 2), op, name, "1-D ids or 2-D multi-hot rows", shape)
    if labels.dim() == 1:
        ids = labels.dtype in (torch.uint8, *_checks.SIGNED_INTEGERS)
        _checks.require(ids, op, name, "integer ids where 1-D", str(labels.dtype).removeprefix("torch."))
        return
    _checks.require(shape[1] != 1, op, name, _COLUMN, shape)
    if labels.is_floating_point():
        _checks.require_finite(check_finite, op, name, labels)


def check_labels(
    op: str, names: tuple[str, str], labels: Tensor, others: Tensor, check_finite: bool | None = None
) -> None:
    """Refuses what `check_kind` does, and pairs of two kinds, widths or devices."""
    check_kind(op, names[0], labels, check_finite)
    if others is not labels:
        check_kind(op, names[1], others, check_finite)
    alike = labels.shape[1:] == others.shape[1:]
    _checks.require(alike, op, names[1], lambda: f"like {names[0]} {tuple(labels.shape)}", tuple(others.shape))
    _checks.require_same_device(op, names[1], others, labels.device)


def as_comparable(labels: Tensor) -> Tensor:
    """Ids as they are; multi-hot rows of any dtype, set where > 0, as float32 of 0 and 1."""
    return labels if labels.dim() == 1 else (labels > 0).float()


def shares_label(labels: Tensor, others: Tensor) -> Tensor:
    """(A, M) bool from two results of `as_comparable`."""
    if labels.dim() == 1:
        return labels.unsqueeze(1) == others.unsqueeze(0)
    with without_autocast(labels):
        return labels @ others.T > 0


@overload
def as_ids(labels: Tensor) -> Tensor: ...
@overload
def as_ids(labels: None) -> None: ...
@overload
def as_ids(labels: Tensor | None) -> Tensor | None: ...
def as_ids(labels: Tensor | None) -> Tensor | None:
    """1-D labels of any integer dtype as int64; all others as they are, for the operator to judge."""
    if labels is None or labels.dim() != 1 or labels.dtype not in (torch.uint8, *_checks.SIGNED_INTEGERS):
        return labels
    return labels.long()
