# SPDX-License-Identifier: Apache-2.0
"""Argument checks of the reference functions, with the texts and the error type of the compiled ops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SIGNED_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


def require(condition: bool, op: str, argument: str, expected: str, got: object) -> None:
    """Raises ValueError `<op>: <argument> must be <expected>, got <got>` unless `condition` holds."""
    if not condition:
        raise ValueError(f"{op}: {argument} must be {expected}, got {got}")


def require_dtype(op: str, argument: str, tensor: Tensor, allowed: Sequence[torch.dtype]) -> None:
    """Refuses a tensor whose dtype is not one of `allowed`."""
    names = ", ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
    require(
        tensor.dtype in allowed, op, argument, f"a tensor of dtype {names}", str(tensor.dtype).removeprefix("torch.")
    )


def require_packed(op: str, argument: str, tensor: Tensor) -> None:
    """Refuses anything but a matrix of packed codes with at least one byte per row."""
    require_dtype(op, argument, tensor, (torch.uint8,))
    require(tensor.dim() == 2 and tensor.shape[1] > 0, op, argument, "of shape (rows, bytes > 0)", tuple(tensor.shape))


def require_same_device(op: str, argument: str, tensor: Tensor, device: torch.device) -> None:
    """Refuses a tensor on another device than `device`."""
    require(tensor.device == device, op, argument, f"on {device}", tensor.device)


def require_finite_number(op: str, argument: str, value: float, *, positive: bool = False) -> None:
    """Refuses NaN and infinity, and zero or less where `positive` is set."""
    expected = "a finite number > 0" if positive else "a finite number"
    require(math.isfinite(value) and (value > 0 or not positive), op, argument, expected, value)


def require_choice(op: str, argument: str, value: str, choices: Sequence[str]) -> None:
    """Refuses a word that is not one of `choices`."""
    require(value in choices, op, argument, "one of " + ", ".join(choices), repr(value))
