# SPDX-License-Identifier: Apache-2.0
"""Argument checks in Python, with the texts and the error type of the compiled ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SIGNED_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


def require(condition: bool, op: str, argument: str, expected: str | Callable[[], str], got: object) -> None:
    """Raises ValueError `<op>: <argument> must be <expected>, got <got>` unless `condition` holds.

    A text that names sizes comes as a function: formatting a symbolic size would fix it under `torch.compile`.
    """
    if not condition:
        text = expected if isinstance(expected, str) else expected()
        raise ValueError(f"{op}: {argument} must be {text}, got {got}")


def require_tensor(op: str, argument: str, value: object) -> None:
    """Refuses with TypeError what is no tensor, such as a list or an array."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {argument} must be a torch.Tensor, got {type(value).__name__}")


def require_dtype(op: str, argument: str, tensor: Tensor, allowed: Sequence[torch.dtype]) -> None:
    """Refuses what is no tensor, and a tensor whose dtype is not one of `allowed`."""
    require_tensor(op, argument, tensor)
    if tensor.dtype not in allowed:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
        got = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"{op}: {argument} must be a tensor of dtype {names}, got {got}")


def require_packed(op: str, argument: str, tensor: Tensor) -> None:
    """Refuses anything but a matrix of packed codes with at least one byte per row."""
    require_dtype(op, argument, tensor, (torch.uint8,))
    require(tensor.dim() == 2 and tensor.shape[1] > 0, op, argument, "of shape (rows, bytes > 0)", tuple(tensor.shape))


def require_same_device(op: str, argument: str, tensor: Tensor, device: torch.device) -> None:
    """Refuses a tensor on another device than `device`."""
    require(tensor.device == device, op, argument, f"on {device}", tensor.device)


def require_finite_number(
    op: str, argument: str, value: float, *, positive: bool = False, nonnegative: bool = False
) -> None:
    """Refuses NaN, infinity and what is no number; 0 or less where `positive`, less than 0 where `nonnegative`."""
    expected = "a finite number" + (" > 0" if positive else " >= 0" if nonnegative else "")
    low = 0.0 if positive else -math.inf
    try:  # comparisons alone: torch.compile traces them where value is symbolic
        fits = low < value < math.inf and not (nonnegative and value < 0)
    except TypeError:
        raise ValueError(f"{op}: {argument} must be {expected}, got {value!r}") from None
    require(fits, op, argument, expected, value)


def require_choice(op: str, argument: str, value: str, choices: Sequence[str]) -> None:
    """Refuses a word that is not one of `choices`."""
    require(value in choices, op, argument, "one of " + ", ".join(map(repr, choices)), repr(value))


def require_finite(flag: bool | None, op: str, argument: str, tensor: Tensor) -> None:
    """Refuses NaN and infinity in `tensor`, where checking is on.

    Args:
        flag: True checks, False does not; None checks on the CPU only and not under `torch.compile`, since raising
            needs to wait for the device and breaks the graph.
        op: name in the error text.
        argument: name in the error text.
        tensor: floating-point values of any shape.

    Raises:
        ValueError: with the number of NaN and infinite values and the position of the first.
    """
    if flag is None:
        flag = tensor.device.type == "cpu" and not torch.compiler.is_compiling()
    if not flag:
        return
    values = tensor.detach()
    # The sum is finite in nearly every call and costs one pass; it may overflow, so only the second look decides.
    if math.isfinite(values.sum().item()) or bool(values.isfinite().all()):
        return
    first = tuple((~values.isfinite()).nonzero()[0].tolist())
    nan, infinite = int(values.isnan().sum()), int(values.isinf().sum())
    raise ValueError(f"{op}: {argument} must be finite, got {nan} NaN and {infinite} infinite values, first at {first}")
