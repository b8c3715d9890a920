# SPDX-License-Identifier: Apache-2.0
"""What the registrations of several operators share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NoReturn, get_args, get_type_hints

import torch
from torch import Tensor

import fasthash._library  # noqa: F401  (registers the schemas and kernels)

MISFITS = (AttributeError, RuntimeError, TypeError)  # what an argument of another kind than asked for leads to

_TAKEN: dict[type, tuple[type, ...]] = {  # beside themselves
    int: (Integral, torch.SymInt),
    float: (Real, torch.SymInt, torch.SymFloat),
    bool: (torch.SymBool,),
}

_implementations = torch.library.Library("fasthash", "IMPL")


def index(op: str, argument: str, value: str, choices: Sequence[str]) -> int:
    """The integer by which a schema carries one of `choices`."""
    if value not in choices:
        raise ValueError(f"{op}: {argument} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return choices.index(value)


def refuse_kinds(function: Callable[..., object], given: Mapping[str, object]) -> None:
    """Names the argument of a failed call that is not what its annotation says; the dispatcher would print its values.

    Asked only after an exception: kinds that fit cost nothing.

    Args:
        function: an operator's public function.
        given: its arguments, by name.

    Raises:
        TypeError: where there is such an argument.
    """
    for name, hint in get_type_hints(function).items():
        kinds = get_args(hint) or (hint,)
        taken = tuple(each for kind in kinds for each in (kind, *_TAKEN.get(kind, ())))
        if name == "return" or isinstance(given[name], taken):
            continue
        words = [
            "None" if kind is type(None) else "torch.Tensor" if kind is Tensor else kind.__name__ for kind in kinds
        ]
        article = "an" if words[0][0] in "aeiou" else "a"
        got = type(given[name]).__name__
        raise TypeError(f"{function.__name__}: {name} must be {article} {' or '.join(words)}, got {got}") from None


def refuse_double_backward(backward_op: str) -> None:
    """Makes differentiating a backward operator an error: without a formula, autograd would return zeros."""

    def refuse(ctx: Any, *grads: Any) -> NoReturn:
        raise RuntimeError(
            f"fasthash: double backward through {backward_op.removesuffix('_backward')} is not defined: "
            "its gradient is not the whole derivative. fasthash.reference has a pure PyTorch version."
        )

    torch.library.register_autograd(f"fasthash::{backward_op}", refuse)


def not_differentiable(op: str) -> None:
    """Declares that no output of an operator has a gradient: autograd passes it by, at no cost."""
    _implementations.impl(op, torch.library.fallthrough_kernel, "Autograd")
