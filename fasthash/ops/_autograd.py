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


def _is_everyday(tensor: Any) -> bool:
    """Whether nothing looks on or takes part: no tracing, transform, mode, autocast region or subclass of tensors."""
    return (
        not torch.compiler.is_compiling()
        and type(tensor) in _PLAIN
        and tensor.device.type in _DEVICES
        and not torch.is_autocast_enabled(tensor.device.type)
        and not torch._C._len_torch_dispatch_stack()
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


def differentiable(
    op: str, backward: Backward, setup_context: Callable[[Any, tuple[Any, ...], Outputs], None]
) -> Callable[..., Outputs]:
    """Registers the autograd formula of an operator, as `torch.library.register_autograd` takes it.

    Returns:
        How to call the operator, with all its arguments by position.
    """
    torch.library.register_autograd(f"fasthash::{op}", backward, setup_context=setup_context)
    overload = getattr(torch.ops.fasthash, op).default

    def forward(ctx: Any, *args: Any) -> Outputs:
        with torch._C._AutoDispatchBelowAutograd():
            outputs: Outputs = overload(*args)
        setup_context(ctx, args, outputs)
        return outputs

    members: dict[str, Any] = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(f"fasthash_{op}", (torch.autograd.Function,), members)

    def call(*args: Any) -> Outputs:
        if not _is_everyday(args[0]):
            outputs: Outputs = overload(*args)
        elif torch.is_grad_enabled() and any(isinstance(each, Tensor) and each.requires_grad for each in args):
            outputs = function.apply(*args)
        else:
            with torch._C._AutoDispatchBelowAutograd():
                outputs = overload(*args)
        return outputs

    return call


def loss(op: str, places: Sequence[int] = (0,), devices: Sequence[str] = ("cpu", "cuda")) -> Callable[..., Tensor]:
    """Registers all that an operator needs which returns a loss and its gradients.

    Args:
        op: its name. `<op>_backward(grad_loss, gradient, loss)` scales a gradient. Its `loss` is not computed with: it
            ties the result to the forward pass, so that a second derivative meets a refusal.
        places: of the arguments whose gradients are the second output and those after it.
        devices: where autocast brings the arguments to float32.

    Returns:
        How to call the operator, with all its arguments by position; it returns the loss alone.
    """
    scale = getattr(torch.ops.fasthash, f"{op}_backward")

    def scaled(grad_loss: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
        return grad_loss * gradient

    def fake_scaled(grad_loss: Tensor, gradient: Tensor, loss: Tensor) -> Tensor:
        return gradient.new_empty(gradient.shape)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.dtype = inputs[0].dtype
        ctx.count = len(inputs)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output)
        ctx.set_materialize_grads(False)

    def backward(ctx: Any, grad_loss: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None] * ctx.count
        if grad_loss is None:
            return tuple(found)
        value, *gradients = ctx.saved_tensors
        for place, gradient in zip(places, gradients, strict=True):
            if ctx.needs_input_grad[place]:
                product = scale.default(grad_loss, gradient, value) if torch.is_grad_enabled() else grad_loss * gradient
                found[place] = product.to(ctx.dtype)
        return tuple(found)

    torch.library.impl(f"fasthash::{op}_backward", "default")(scaled)
    torch.library.register_fake(f"fasthash::{op}_backward")(fake_scaled)
    _registration.refuse_double_backward(f"{op}_backward")
    call = differentiable(op, backward, setup_context)
    for device in devices:
        torch.library.register_autocast(f"fasthash::{op}", device, torch.float32)

    def value_of(*args: Any) -> Tensor:
        value = call(*args)[0]
        # Its owner may change it in place (`loss /= 4`), while backward keeps the operator's own output.
        return value.clone() if value.requires_grad else value

    return value_of
