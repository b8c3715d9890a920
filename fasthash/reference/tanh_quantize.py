# SPDX-License-Identifier: Apache-2.0
"""tanh_quantize in plain PyTorch: the definition of the op."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.reference.gradient_amplifier import AmplifierRule, amplifier_rule, amplify, flatness
from fasthash.reference.pack_codes import pack_bits
from fasthash.types import PENALTIES, TanhQuantizeOutput

_OP = "tanh_quantize"


class _Rule(NamedTuple):
    """Everything of the op that is not a tensor."""

    penalty: str
    amplifier: AmplifierRule


def tanh_quantize(
    logits: Tensor,
    sharpness: float | Tensor = 1.0,
    *,
    penalty: str = "l2",
    amplifier: str = "wrong_side",
    amplification: float | None = None,
    inverse: bool = False,
    threshold: float = 0.99,
    pack: bool = False,
    count_saturation: bool = False,
) -> TanhQuantizeOutput:
    """Relaxed codes `h = tanh(sharpness * z)`, their distance from ±1, packed codes and saturation counts.

    The gradient is a declared surrogate (the gradient amplifier). With `s = sharpness * (1 - h^2)`, the codes
    contribute `g = dL/dh * s`, multiplied by the amplification where the element is gated: `|h| > threshold` and, for
    `wrong_side`, `g * sgn(z) > 0` (the loss wants `|z|` to shrink). The penalty's gradient is added unamplified.

    Args:
        logits: (..., K) values z, float32, float64, bfloat16 or float16, any strides, not empty. Half precisions are
            computed in float32 and rounded once.
        sharpness: finite number > 0, or a float32 or float64 tensor of one element, on the device of the logits or the
            CPU. It gets no gradient.
        penalty: mean over all elements of `l2` `(|h| - 1)^2`, `l1` `| |h| - 1 |`, `log_cosh` `log cosh(|h| - 1)`,
            `cubic` `| |h| - 1 |^3`; or `none`.
        amplifier: `wrong_side`, `magnitude` (every saturated element) or `none`.
        amplification: the factor (10 when None), or the cap of the inverse factor (100 when None).
        inverse: multiply by `min(1 / (1 - h^2), amplification)` in place of the constant.
        threshold: saturation `|h|` in [0, 1] above which the amplifier acts and `saturation` counts.
        pack: also return the bits `z >= 0`, packed; NaN packs as 0.
        count_saturation: also count the samples per bit with `|h| > threshold`.

    Returns:
        `TanhQuantizeOutput`; NaN logits give NaN codes, penalty and gradient.

    Raises:
        ValueError: an argument is not what is described above.
        RuntimeError: on double backward, which the surrogate gradient does not define.

    Source:
        Zhao et al., "Rescuing Deep Hashing from Dead Bits Problem", IJCAI 2021 (arXiv 2102.00648) describe the
        amplifier; its exact rule and all numbers here are this library's own definition.
    """
    _check_logits(logits, sharpness)
    rule = _rule(penalty, amplifier, amplification, inverse, threshold)
    beta = sharpness.detach().reshape(()) if isinstance(sharpness, Tensor) else sharpness
    codes, mean_penalty = _TanhQuantize.apply(logits, beta, rule)  # type: ignore[no-untyped-call]
    packed = pack_bits(logits.detach() >= 0) if pack else logits.new_empty(0, dtype=torch.uint8)
    saturation = logits.new_empty(0, dtype=torch.int64)
    if count_saturation:
        magnitude = _relax(logits.detach(), beta).abs()
        saturation = (magnitude > threshold).reshape(-1, logits.shape[-1]).sum(0)
    return TanhQuantizeOutput(codes, mean_penalty, packed, saturation)


def _check_logits(logits: Tensor, sharpness: float | Tensor) -> None:
    _checks.require_dtype(_OP, "logits", logits, _checks.FLOATS)
    shaped = logits.dim() >= 1 and logits.numel() > 0
    _checks.require(shaped, _OP, "logits", "of shape (..., bits) and not empty", tuple(logits.shape))
    if isinstance(sharpness, Tensor):
        shape = tuple(sharpness.shape)
        _checks.require(sharpness.numel() == 1, _OP, "sharpness", "a number or a tensor of one element", shape)
        _checks.require_dtype(_OP, "sharpness", sharpness, (torch.float32, torch.float64))
        if sharpness.device.type == "cpu":
            _checks.require_finite_number(_OP, "sharpness", sharpness.detach().item(), positive=True)
        else:
            _checks.require_same_device(_OP, "sharpness", sharpness, logits.device)
    else:
        _checks.require_finite_number(_OP, "sharpness", sharpness, positive=True)


def _rule(penalty: str, amplifier: str, amplification: float | None, inverse: bool, threshold: float) -> _Rule:
    _checks.require_choice(_OP, "penalty", penalty, PENALTIES)
    return _Rule(penalty, amplifier_rule(_OP, amplifier, amplification, inverse, threshold))


def _compute_dtype(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _scaled(logits: Tensor, sharpness: float | Tensor) -> Tensor:
    """`sharpness * z` in the compute dtype; a float64 sharpness must not promote float32 logits."""
    dtype = _compute_dtype(logits)
    factor = sharpness.to(dtype) if isinstance(sharpness, Tensor) else sharpness
    return logits.to(dtype) * factor


def _relax(logits: Tensor, sharpness: float | Tensor) -> Tensor:
    return torch.tanh(_scaled(logits, sharpness))


def _penalty(codes: Tensor, kind: str) -> Tensor:
    """Mean penalty of codes (..., K); () or, for `none`, (0,)."""
    if kind == "none":
        return codes.new_empty(0)
    gap = 1.0 - codes.abs()
    if kind == "l2":
        return gap.square().mean()
    if kind == "l1":
        return gap.mean()
    if kind == "cubic":
        return gap.pow(3).mean()
    # log cosh x = log(1 + 2 sinh^2(x / 2)) keeps its digits where x is small.
    return torch.log1p(2.0 * torch.sinh(0.5 * gap).square()).mean()


def _penalty_slope(gap: Tensor, kind: str) -> Tensor:
    """-d penalty / d |h| of one element, from `gap = 1 - |h|`."""
    if kind == "l2":
        return 2.0 * gap
    if kind == "l1":
        return torch.ones_like(gap)
    if kind == "cubic":
        return 3.0 * gap.square()
    return torch.tanh(gap)


class _TanhQuantize(torch.autograd.Function):
    """Forward of codes and penalty; backward is `_TanhQuantizeBackward`, which refuses to be differentiated."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, sharpness: float | Tensor, rule: _Rule) -> tuple[Tensor, Tensor]:
        codes = _relax(logits, sharpness)
        return codes.to(logits.dtype), _penalty(codes, rule.penalty)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        logits, sharpness, ctx.rule = inputs
        is_tensor = isinstance(sharpness, Tensor)
        ctx.save_for_backward(logits, sharpness if is_tensor else None)
        ctx.sharpness = None if is_tensor else sharpness

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logits, sharpness = ctx.saved_tensors
        sharpness = ctx.sharpness if sharpness is None else sharpness
        grad_codes, grad_penalty = grads
        gradient = _TanhQuantizeBackward.apply(  # type: ignore[no-untyped-call]
            logits, sharpness, grad_codes, grad_penalty, ctx.rule
        )
        return gradient, None, None


class _TanhQuantizeBackward(torch.autograd.Function):
    """The surrogate gradient with respect to the logits (..., K)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        logits: Tensor, sharpness: float | Tensor, grad_codes: Tensor, grad_penalty: Tensor, rule: _Rule
    ) -> Tensor:
        scaled = _scaled(logits, sharpness)
        beta = sharpness.to(scaled.dtype) if isinstance(sharpness, Tensor) else sharpness
        decay = torch.exp(-2.0 * scaled.abs())
        flat = flatness(decay)
        slope = beta * flat
        gradient = amplify(grad_codes.to(scaled.dtype) * slope, logits, torch.tanh(scaled), flat, rule.amplifier)
        if rule.penalty != "none":
            gap = 2.0 * decay / (1.0 + decay)
            pull = torch.where(logits < 0, 1.0, -1.0) * _penalty_slope(gap, rule.penalty)
            gradient = gradient + grad_penalty * pull * slope / logits.numel()
        return gradient.to(logits.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError("tanh_quantize: double backward is not defined, its gradient is a surrogate")
