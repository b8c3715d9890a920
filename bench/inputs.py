# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: inputs, seeded and so the same for every library, and a fresh torch.compile."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

CACHE = "FASTHASH_BENCH_CACHE"
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
    """(rows, ceil(bits / 8)) uint8, uniform; spare bits are 0."""
    generator = torch.Generator(device).manual_seed(seed)
    codes = torch.randint(0, 256, (rows, -(-bits // 8)), dtype=torch.uint8, generator=generator, device=device)
    if bits % 8:
        codes[:, -1] &= 256 - (1 << (8 - bits % 8))
    return codes


@cache
def clustered_codes(rows: int, bits: int, seed: int, device: str = "cpu") -> Tensor:
    """(rows, ceil(bits / 8)) uint8: signs of random projections of points around 1,000 Gaussian centres.

    The processes of a run make them once: they share the folder that the environment variable CACHE names.
    """
    folder = os.environ.get(CACHE)
    if device != "cpu" or not folder:
        return _clustered(rows, bits, seed, device)
    path = Path(folder) / f"clustered-{rows}-{bits}-{seed}.npy"
    if not path.exists():
        np.save(path, _clustered(rows, bits, seed, device).numpy())
    return torch.from_numpy(np.load(path))


def _clustered(rows: int, bits: int, seed: int, device: str) -> Tensor:
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
    """(R, K) bool -> (R, ceil(K / 8)) uint8, the first bit highest."""
    if bits.device.type == "cpu":
        return torch.from_numpy(np.packbits(bits.numpy(), axis=1))
    bits = torch.nn.functional.pad(bits, (0, -bits.shape[1] % 8))
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
