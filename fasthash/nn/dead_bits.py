# SPDX-License-Identifier: Apache-2.0
"""Which bits are dead: saturated on a side that the loss disagrees with."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks

_NAME = "dead_bits"


@torch.no_grad()
def dead_bits(
    logits: Tensor, grad_codes: Tensor, sharpness: float | Tensor = 1.0, *, threshold: float = 0.99
) -> Tensor:
    """Number of samples per bit that are saturated on the wrong side: those that the gate `wrong_side` would rescue.

    `|tanh(sharpness * z)| > threshold`, and a descent step along the gradient would shrink `|z|`. The saturation that
    `ops.tanh_quantize` counts is known in the forward pass and takes no notice of sides; this one needs a gradient:

        codes.retain_grad()
        loss(codes, labels).backward()
        dead = dead_bits(logits, codes.grad)

    Args:
        logits: (..., K), any floating dtype.
        grad_codes: (..., K), the gradient of the loss with respect to the codes.
        sharpness: factor inside tanh, a number or a tensor of one element.
        threshold: in [0, 1].

    Returns:
        (K,) int64. NaN is not counted.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, or a threshold outside [0, 1].
    """
    _checks.require_dtype(_NAME, "logits", logits, _checks.FLOATS)
    _checks.require(logits.dim() >= 1, _NAME, "logits", "of shape (..., bits)", tuple(logits.shape))
    fits = grad_codes.shape == logits.shape
    _checks.require(fits, _NAME, "grad_codes", f"of shape {tuple(logits.shape)} like logits", tuple(grad_codes.shape))
    _checks.require_same_device(_NAME, "grad_codes", grad_codes, logits.device)
    _checks.require(0 <= threshold <= 1, _NAME, "threshold", "in [0, 1]", threshold)
    z = logits if logits.dtype == torch.float64 else logits.float()
    saturated = torch.tanh(z * sharpness).abs() > threshold
    wrong = torch.where(z < 0, grad_codes < 0, grad_codes > 0)
    return (saturated & wrong).reshape(-1, logits.shape[-1]).sum(0)
