# SPDX-License-Identifier: Apache-2.0
"""Ids as users have them at hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Ids = Tensor | Sequence[int]


def as_tensor(op: str, argument: str, ids: Ids, device: torch.device) -> Tensor:
    """A tensor as it is; a list or an array of numbers as a tensor on `device`; anything else is a TypeError."""
    if isinstance(ids, Tensor):
        return ids
    try:
        found = torch.as_tensor(ids, device=device)
    except (RuntimeError, TypeError, ValueError):
        expected = "a torch.Tensor or a list or an array of numbers"
        raise TypeError(f"{op}: {argument} must be {expected}, got {type(ids).__name__}") from None
    return found if found.numel() else found.long()  # an empty list would be one of floats
