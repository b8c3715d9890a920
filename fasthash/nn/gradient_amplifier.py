# SPDX-License-Identifier: Apache-2.0
"""The gradient amplifier as a layer of its own, for activations that are not this library's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash.reference.gradient_amplifier import AmplifierRule, amplifier_rule, amplify, flatness


class GradientAmplifier(nn.Module):
    """The identity in front of tanh; backward amplifies the gradient of dead bits, saturated on the wrong side.

        GA(z) = z;   dL/dz = a * g,   a = amplification where |h| > threshold and the gate is open, else 1

    with `h = tanh(sharpness * z)` and g the gradient that comes out of tanh's backward. The rule is that of
    `fasthash.reference.gradient_amplifier`, the same that `fasthash.ops.tanh_quantize` applies. `HashLayer` has it
    built in and faster, and there it acts on the gradient of the codes alone: here a quantization penalty behind the
    layer is amplified too.

    For sigmoid codes take half the sharpness, as `2 sigmoid(z) - 1 = tanh(z / 2)`: then |2 h - 1| is compared with the
    threshold.

    tanh's own backward computes `1 - h^2` from h, which in float32 is 0 from |z| = 9 on: nothing can be amplified there
    (`tanh_quantize` computes it from z).

    Args:
        amplifier: the gate: `wrong_side` (open where a descent step would shrink |z|), `magnitude` (always) or `none`.
        amplification: the factor, default 10; with `inverse` the cap of the factor, default 100.
        inverse: amplify by `min(1 / (1 - h^2), amplification)`.
        threshold: saturation |h| in [0, 1] above which an element is amplified.
        sharpness: factor inside tanh; a 0-d buffer, changed by `set_sharpness`.

    Raises:
        ValueError: an option out of its range; in the call, values that are not floating.
        RuntimeError: on double backward: the rule is not the derivative of anything.

    Source: the idea of Zhao et al., "Rescuing Deep Hashing from Dead Bits Problem", IJCAI 2021 (arXiv 2102.00648); the
    exact rule and all defaults are this library's own.

    Example:
        >>> codes = torch.tanh(GradientAmplifier()(logits))
    """

    sharpness: Tensor

    def __init__(
        self,
        amplifier: str = "wrong_side",
        *,
        amplification: float | None = None,
        inverse: bool = False,
        threshold: float = 0.99,
        sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        self.rule = amplifier_rule("GradientAmplifier", amplifier, amplification, inverse, threshold)
        self.register_buffer("sharpness", torch.tensor(1.0))
        self.set_sharpness(sharpness)

    def set_sharpness(self, value: float) -> None:
        """Changes the factor inside tanh in place; `value` has to be a finite number > 0, else ValueError."""
        _checks.require_finite_number("GradientAmplifier", "sharpness", value, positive=True)
        self.sharpness.fill_(value)

    def forward(self, logits: Tensor) -> Tensor:
        """The logits, of any shape and floating dtype, bit for bit."""
        _checks.require_dtype("GradientAmplifier", "logits", logits, _checks.FLOATS)
        same: Tensor = _Amplify.apply(logits, self.sharpness.float(), self.rule)  # type: ignore[no-untyped-call]
        return same

    def extra_repr(self) -> str:
        """Shown by print(layer); the sharpness lives in its buffer and is not read here."""
        return ", ".join(f"{name}={value!r}" for name, value in self.rule._asdict().items())


class _Amplify(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, sharpness: Tensor, rule: AmplifierRule) -> Tensor:
        return logits.view_as(logits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, AmplifierRule], output: Tensor) -> None:
        logits, sharpness, ctx.rule = inputs
        ctx.save_for_backward(logits, sharpness)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        amplified = _AmplifyBackward.apply(gradients[0], *ctx.saved_tensors, ctx.rule)  # type: ignore[no-untyped-call]
        return amplified, None, None


class _AmplifyBackward(torch.autograd.Function):
    """A function of its own, so that differentiating it is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, logits: Tensor, sharpness: Tensor, rule: AmplifierRule) -> Tensor:
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        scaled = logits.to(wide) * sharpness.to(wide)
        flat = flatness(torch.exp(-2.0 * scaled.abs()))
        return amplify(gradient.to(wide), logits, scaled.tanh(), flat, rule).to(gradient.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise RuntimeError("GradientAmplifier: double backward is not defined, its gradient is a surrogate")
