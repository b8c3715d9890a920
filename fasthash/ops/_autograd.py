# SPDX-License-Identifier: Apache-2.0
"""Autograd of operators: registered for everything that traces, and a plain autograd function for everyday calls.

What `torch.library` makes of a formula goes through the dispatcher twice in Python. On a small batch that takes longer
than the kernel: 90 µs a call where an autograd function takes 25 (PyTorch 2.13, one core).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fasthash.ops import _registration

Outputs = tuple[Tensor, ...]
Backward = Callable[..., tuple[Tensor | None, ...]]

_PLAIN = (Tensor, nn.Parameter)
_DEVICES = ("cpu", "cuda")
# What the short way asks of PyTorch (2.13 and 2.14 have it). Without, every call goes through the dispatcher.
_ASKED = (
    "_AutoDispatchBelowAutograd",
    "_are_functorch_transforms_active",
    "_get_tracing_state",
    "_len_torch_dispatch_stack",
)
_has_short_way = all(hasattr(torch._C, name) for name in _ASKED)


def _is_everyday(tensor: Any) -> bool:
    """Whether nothing looks on or takes part: no tracing, transform, mode, autocast region or subclass of tensors."""
    return (
        not torch.compiler.is_compiling()
        and _has_short_way
        and type(tensor) in _PLAIN
        and tensor.device.type in _DEVICES
        and not torch.is_autocast_enabled(tensor.device.type)
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active()
    )


def direct(op: str) -> Callable[..., Any]:
    """How to call an operator where nothing is recorded: past the autograd keys, if the call is an everyday one."""
    overload = getattr(torch.ops.fasthash, op).default

    def call(*args: Any) -> Any:
        if torch.is_grad_enabled() or not _is_everyday(args[0]):
            return overload(*args)
        with torch._C._AutoDispatchBelowAutograd():
            return overload(*args)

    return call


def _in_function(op: str, places: Sequence[int], forward: Callable[..., Any], backward: Backward) -> Callable[..., Any]:
    """How to call an operator in an autograd function: `forward(ctx, *tensors, args)`, `backward(ctx, *gradients)`.

    Only the arguments at `places` are tensors of the function, besides a tuple of all: each takes its time, and others
    have no gradient. `backward` returns a gradient for each of them, and None for the tuple.
    """
    members: dict[str, Any] = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(f"fasthash_{op}", (torch.autograd.Function,), members)

    def call(*args: Any) -> Any:
        return function.apply(*[args[place] for place in places], args)

    return call


def _needs_gradient(args: tuple[Any, ...], places: Sequence[int]) -> bool:
    if not torch.is_grad_enabled():
        return False
    return any(args[place] is not None and args[place].requires_grad for place in places)


def differentiable(
    op: str,
    backward: Callable[..., Tensor | None],
    setup_context: Callable[[Any, tuple[Any, ...], Outputs], None],
) -> Callable[..., Outputs]:
    """Registers the autograd formula of an operator whose first argument alone has a gradient.

    Args:
        op: its name.
        backward: takes the context and a gradient for each output; returns the first argument's.
        setup_context: takes the context, inputs and outputs.

    Returns:
        How to call the operator, with all its arguments by position.
    """
    overload = getattr(torch.ops.fasthash, op).default

    def forward(ctx: Any, first: Tensor, args: tuple[Any, ...]) -> Outputs:
        with torch._C._AutoDispatchBelowAutograd():
            outputs: Outputs = overload(*args)
        setup_context(ctx, args, outputs)
        return outputs

    def backward_of_first(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        return backward(ctx, *gradients), None

    def setup_with_count(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        setup_context(ctx, inputs, output)
        ctx.others = (None,) * (len(inputs) - 1)

    def backward_of_all(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return (backward(ctx, *gradients), *ctx.others)

    torch.library.register_autograd(f"fasthash::{op}", backward_of_all, setup_context=setup_with_count)
    recorded = _in_function(op, (0,), forward, backward_of_first)

    def call(*args: Any) -> Outputs:
        if not _is_everyday(args[0]):
            outputs: Outputs = overload(*args)
        elif _needs_gradient(args, (0,)):
            outputs = recorded(*args)
        else:
            with torch._C._AutoDispatchBelowAutograd():
                outputs = overload(*args)
        return outputs

    return call


def loss(op: str, places: Sequence[int] = (0,), devices: Sequence[str] = ("cpu", "cuda")) -> Callable[..., Tensor]:
    """Registers all that an operator needs which returns a loss and its gradients.

    Args:
        op: its name. `<op>_backward(grad_loss, gradient, tie)` scales a gradient. It does not compute with `tie`, an
            output of the forward pass, which makes a second derivative meet a refusal.
        places: of the arguments whose gradients are the second output and those after it.
        devices: where autocast brings the arguments to float32.

    Returns:
        How to call the operator, with all its arguments by position. It returns the loss alone, which its owner may
        change in place (`loss /= 4`).
    """
    overload = getattr(torch.ops.fasthash, op).default
    scale = getattr(torch.ops.fasthash, f"{op}_backward").default
    count = len(places)

    def scaled(grad_loss: Tensor, gradient: Tensor, tie: Tensor) -> Tensor:
        return grad_loss * gradient

    def fake_scaled(grad_loss: Tensor, gradient: Tensor, tie: Tensor) -> Tensor:
        return gradient.new_empty(gradient.shape)

    def product(ctx: Any, grad_loss: Tensor, gradient: Tensor, tie: Tensor) -> Tensor:
        found = scale(grad_loss, gradient, tie) if torch.is_grad_enabled() else grad_loss * gradient
        return found if ctx.dtype is None else found.to(ctx.dtype)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.dtype, ctx.count = inputs[0].dtype, len(inputs)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], output[0])
        ctx.set_materialize_grads(False)

    def backward(ctx: Any, grad_loss: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None] * ctx.count
        *gradients, tie = ctx.saved_tensors
        for place, gradient in zip(places, gradients, strict=True):
            if grad_loss is not None and ctx.needs_input_grad[place]:
                found[place] = product(ctx, grad_loss, gradient, tie)
        return tuple(found)

    def forward(ctx: Any, *tensors_and_args: Any) -> tuple[Tensor, Tensor]:
        args = tensors_and_args[-1]
        with torch._C._AutoDispatchBelowAutograd():
            value, *gradients = overload(*args)
        tie = value.new_empty(0)
        ctx.dtype = args[0].dtype if args[0].dtype != value.dtype else None
        ctx.save_for_backward(*gradients, tie)
        ctx.set_materialize_grads(False)
        return value, tie

    def backward_of_places(ctx: Any, grad_loss: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad_loss is None:
            return (None,) * (count + 1)
        *gradients, tie = ctx.saved_tensors
        needed = ctx.needs_input_grad
        return (
            *[product(ctx, grad_loss, each, tie) if needed[i] else None for i, each in enumerate(gradients)],
            None,
        )

    torch.library.impl(f"fasthash::{op}_backward", "default")(scaled)
    torch.library.register_fake(f"fasthash::{op}_backward")(fake_scaled)
    _registration.refuse_double_backward(f"{op}_backward")
    torch.library.register_autograd(f"fasthash::{op}", backward, setup_context=setup_context)
    for device in devices:
        torch.library.register_autocast(f"fasthash::{op}", device, torch.float32)
    recorded = _in_function(op, places, forward, backward_of_places)

    def call(*args: Any) -> Tensor:
        if not _is_everyday(args[0]):
            # Here the loss itself is kept for backward: its owner gets a copy.
            value: Tensor = overload(*args)[0]
            return value.clone() if value.requires_grad else value
        if _needs_gradient(args, places):
            value, _ = recorded(*args)
            return value
        with torch._C._AutoDispatchBelowAutograd():
            outputs: Outputs = overload(*args)
        return outputs[0]

    return call
