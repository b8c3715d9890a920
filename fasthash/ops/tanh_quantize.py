# SPDX-License-Identifier: Apache-2.0
"""tanh_quantize: relaxed codes, quantization penalty, packed codes and saturation in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fasthash.ops import _autograd, _registration
from fasthash.types import AMPLIFIERS, PENALTIES, TanhQuantizeOutput


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
    r"""Relaxed codes `h = tanh(sharpness * z)` and their quantization penalty, in one pass over the logits.

    Backward applies the gradient amplifier, which rescues dead bits: bits that have saturated on a side the loss
    disagrees with. With `s = sharpness * (1 - h^2)` and `g = dL/dh * s`,

        dL/dz = a * g + dL/dpenalty * dpenalty/dh * s
        a     = amplification where |h| > threshold and the gate is open, else 1

    where the gate `wrong_side` is open for `g * sgn(z) > 0` (a descent step would shrink `|z|`), `magnitude` always
    and `none` never; `sgn(0) = +1`. With `inverse`, `a = min(1 / (1 - h^2), amplification)` in place of the constant.
    The penalty's gradient is never amplified. `1 - h^2` is computed without cancellation, so that the gradient of a
    saturated bit is small but not zero: the logits, not the codes, are kept for backward.

    Args:
        logits: (..., K) tensor z, float32, float64, bfloat16 or float16, any strides, not empty; K is the number of
            bits. Half precisions are computed in float32 and rounded once.
        sharpness: factor inside tanh, finite and > 0; a number, or a tensor of one element. A number becomes a constant
            of a CUDA graph; a float32 tensor on the logits' device is read when the kernel runs. It gets no gradient.
        penalty: mean over all elements of `"l2"` `(|h| - 1)^2`, `"l1"` `||h| - 1|`, `"log_cosh"` `log cosh(|h| - 1)`,
            `"cubic"` `||h| - 1|^3`, or `"none"`.
        amplifier: the gate: `"wrong_side"`, `"magnitude"` or `"none"`.
        amplification: the factor, default 10; with `inverse` the cap of the factor, default 100. Finite and > 0.
        inverse: amplify by the inverse of tanh's slope.
        threshold: saturation `|h|` in [0, 1] above which an element is amplified and counted.
        pack: also return the packed codes, the bits `z >= 0`; NaN packs as 0.
        count_saturation: also return how many samples are saturated per bit, on either side; `nn.dead_bits` tells the
            wrong one, for which it takes a gradient.

    Returns:
        Always the same four: codes (..., K) in the logits' dtype; penalty () in float32 (float64 for float64 logits);
        packed (..., ceil(K / 8)) uint8; saturation (K,) int64. What is off is an empty tensor (0,).

    Raises:
        ValueError: an argument is not as described; the text names it, what was expected and what came.
        RuntimeError: on double backward: the amplifier's rule is not the derivative of anything.

    Numerics: NaN logits give NaN codes, penalty and gradients. At sharpness 1, float32 codes
    differ from exact ones by less than 2 ulp on every machine variant and device (at most 1.8, found among all of
    2^-8 <= |z| < 16); sums do not depend on the number of threads.

    Source: the amplifier stands in Zhao et al., "Rescuing Deep Hashing from Dead Bits Problem", IJCAI 2021
    (arXiv 2102.00648), as an idea; its exact rule and all defaults are this library's own. The cubic penalty is that of
    GreedyHash (Su et al., NeurIPS 2018, released code), here on `h` rather than on `z`.
    """
    try:
        tensor = sharpness if isinstance(sharpness, Tensor) else None
        if amplification is None:
            amplification = 100.0 if inverse else 10.0
        outputs = _quantize(
            logits,
            tensor,
            1.0 if tensor is not None else float(sharpness),
            _registration.index("tanh_quantize", "penalty", penalty, PENALTIES),
            _registration.index("tanh_quantize", "amplifier", amplifier, AMPLIFIERS),
            inverse,
            amplification,
            threshold,
            pack,
            count_saturation,
        )
        return TanhQuantizeOutput(*outputs)
    except _registration.MISFITS:
        _registration.refuse_kinds(tanh_quantize, locals())
        raise


@torch.library.register_fake("fasthash::tanh_quantize")
def _fake(
    logits: Tensor,
    sharpness_tensor: Tensor | None,
    sharpness: float,
    penalty: int,
    amplifier: int,
    inverse: bool,
    amplification: float,
    threshold: float,
    pack: bool,
    count_saturation: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *leading, bits = logits.shape
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return (
        logits.new_empty(logits.shape),
        logits.new_empty(() if penalty else (0,), dtype=wide),
        logits.new_empty((*leading, (bits + 7) // 8) if pack else (0,), dtype=torch.uint8),
        logits.new_empty(bits if count_saturation else 0, dtype=torch.int64),
    )


@torch.library.register_fake("fasthash::tanh_quantize_backward")
def _fake_backward(grad_codes: Tensor | None, grad_penalty: Tensor | None, logits: Tensor, *_: Any) -> Tensor:
    return logits.new_empty(logits.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, sharpness_tensor, *ctx.settings = inputs[:8]
    ctx.save_for_backward(logits, sharpness_tensor)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_codes: Tensor | None, grad_penalty: Tensor | None, *_: None) -> Tensor | None:
    logits, sharpness_tensor = ctx.saved_tensors
    if grad_codes is None and grad_penalty is None:
        return None
    gradient: Tensor = _gradient(grad_codes, grad_penalty, logits, sharpness_tensor, *ctx.settings)
    return gradient


_quantize = _autograd.differentiable("tanh_quantize", _backward, _setup_context)
_gradient = _autograd.direct("tanh_quantize_backward")
_registration.refuse_double_backward("tanh_quantize_backward")
