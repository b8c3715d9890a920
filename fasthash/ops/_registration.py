# SPDX-License-Identifier: Apache-2.0
"""What the registrations of several operators share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

import fasthash._library  # noqa: F401  (registers the schemas and kernels)

_implementations = torch.library.Library("fasthash", "IMPL")


def index(op: str, argument: str, value: str, choices: Sequence[str]) -> int:
    """The integer by which a schema carries one of `choices`."""
    if value not in choices:
        raise ValueError(f"{op}: {argument} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return choices.index(value)


def refuse_double_backward(backward_op: str) -> None:
    """Makes differentiating a backward operator an error: without a formula, autograd would return zeros."""

    def refuse(ctx: Any, *grads: Any) -> NoReturn:
        raise RuntimeError(
            f"fasthash: double backward through {backward_op.removesuffix('_backward')} is not defined: "
            "its gradient is not the whole derivative. fasthash.reference has a pure PyTorch version."
        )

    torch.library.register_autograd(f"fasthash::{backward_op}", refuse)


def changeable(loss: Tensor) -> Tensor:
    """A loss that its owner may change in place (`loss /= 4`): backward keeps the operator's own output."""
    return loss.clone() if loss.requires_grad else loss


def not_differentiable(op: str) -> None:
    """Declares that no output of an operator has a gradient: autograd passes it by, at no cost."""
    _implementations.impl(op, torch.library.fallthrough_kernel, "Autograd")
