# SPDX-License-Identifier: Apache-2.0
"""Loads the compiled module, which registers the operators `torch.ops.fasthash.*`."""

from __future__ import annotations

import torch

try:
    from fasthash import _C
except ImportError as error:
    raise ImportError(
        f"fasthash's compiled module did not load under torch {torch.__version__} ({error}). "
        "It needs torch >= 2.10; build it with `pip install .` in the source folder."
    ) from error

__all__ = ["_C"]
