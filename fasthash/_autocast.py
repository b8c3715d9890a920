# SPDX-License-Identifier: Apache-2.0
"""Regions that compute in the dtypes as they are written."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """A region without autocast on the tensor's device; where there is none to leave, nothing, which costs nothing."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
