# SPDX-License-Identifier: Apache-2.0
"""What the `kernels` fixture hands to a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kernels:
    """One way to run the raw operators: `kernels.ops.<op>(...)` on tensors of `kernels.device`."""

    name: str
    ops: Any
    device: str

    def __repr__(self) -> str:
        return self.name
