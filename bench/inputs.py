# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: inputs, seeded and so the same for every library, and a fresh torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_CLUSTERS = 1000
_FEATURES = 128
_SPREAD = 0.35
_ROWS_AT_ONCE = 1 << 16


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile for the shapes of one case.

    Forgets what was compiled before: after eight versions of a function torch.compile gives up and runs it eagerly.
    """
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


@cache
def random_codes(rows: int, bits: int, seed: int, device: str = "cpu") -> Tensor:
    """(rows, bits / 8) uint8, uniform."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randint(0, 256, (rows, bits // 8), dtype=torch.uint8, generator=generator, device=device)


@cache
def clustered_codes(rows: int, bits: int, seed: int, device: str = "cpu") -> Tensor:
    """(rows, bits / 8) uint8: signs of random projections of points around 1,000 Gaussian centres."""
    shared = torch.Generator(device).manual_seed(99)
    centres = torch.randn(_CLUSTERS, _FEATURES, generator=shared, device=device)
    projection = torch.randn(_FEATURES, bits, generator=shared, device=device)
    own = torch.Generator(device).manual_seed(seed)
    parts = []
    for begin in range(0, rows, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, rows - begin)
        points = torch.randn(count, _FEATURES, generator=own, device=device) * _SPREAD
        points += centres[torch.randint(0, _CLUSTERS, (count,), generator=own, device=device)]
        parts.append(_pack(points @ projection >= 0))
    return torch.cat(parts)


def _pack(bits: Tensor) -> Tensor:
    """(R, K) bool -> (R, K / 8) uint8, the first bit highest."""
    weights = 1 << torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    return (bits.view(len(bits), -1, 8) * weights).sum(-1, dtype=torch.uint8)


def codes(data: str, rows: int, bits: int, seed: int, device: str) -> Tensor:
    """Packed codes of the kind that `data` names."""
    return {"random": random_codes, "clustered": clustered_codes}[data](rows, bits, seed, device)


def signs(packed: Tensor, dtype: torch.dtype) -> Tensor:
    """(R, W) uint8 -> (R, 8 W) of ±1 in `dtype`."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    return (((packed.unsqueeze(-1) >> shifts) & 1).to(dtype) * 2 - 1).flatten(1)


def normal(*shape: int, device: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Standard normal values of a fixed seed."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(*shape, generator=generator, device=device).to(dtype)
