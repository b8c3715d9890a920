# SPDX-License-Identifier: Apache-2.0
"""The gradient amplifier's rule, which rescues dead bits: the one place where it is written in PyTorch.

`tanh_quantize` applies it inside its backward, `fasthash.nn.GradientAmplifier` on its own in front of an activation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.types import AMPLIFIERS

DEFAULT_AMPLIFICATION = 10.0
DEFAULT_INVERSE_CAP = 100.0


class AmplifierRule(NamedTuple):
    """Which elements are amplified, and by how much; see `amplify`."""

    amplifier: str
    amplification: float
    inverse: bool
    threshold: float


def amplifier_rule(
    op: str, amplifier: str, amplification: float | None, inverse: bool, threshold: float
) -> AmplifierRule:
    """The rule with its defaults filled in; ValueError where an option is out of its range."""
    _checks.require_choice(op, "amplifier", amplifier, AMPLIFIERS)
    if amplification is None:
        amplification = DEFAULT_INVERSE_CAP if inverse else DEFAULT_AMPLIFICATION
    _checks.require_finite_number(op, "amplification", amplification, positive=True)
    _checks.require(0.0 <= threshold <= 1.0, op, "threshold", "in [0, 1]", threshold)
    return AmplifierRule(amplifier, amplification, inverse, threshold)


def flatness(decay: Tensor) -> Tensor:
    """`1 - tanh(x)^2` from `exp(-2 |x|)`: nothing cancels, so a saturated bit's slope is small but not zero."""
    return 4.0 * decay / (1.0 + decay).square()


def amplify(gradient: Tensor, logits: Tensor, codes: Tensor, flat: Tensor, rule: AmplifierRule) -> Tensor:
    """Multiplies the gated elements of a gradient with respect to the logits z, as it comes out of tanh's backward.

        a * g,   a = amplification where |h| > threshold and the gate is open, else 1

    The gate `wrong_side` is open for `g * sgn(z) > 0` (a descent step would shrink |z|), sgn(0) = +1; `magnitude`
    always, `none` never. With `inverse`, `a = min(1 / (1 - h^2), amplification)`.

    Args:
        gradient: g, of any shape.
        logits: z.
        codes: h, the tanh of z times the sharpness.
        flat: 1 - h^2, see `flatness`.
        rule: see `amplifier_rule`.
    """
    if rule.amplifier == "none":
        return gradient
    gated = codes.abs() > rule.threshold
    if rule.amplifier == "wrong_side":
        gated = gated & (torch.where(logits < 0, -gradient, gradient) > 0)
    if rule.inverse:
        return torch.where(gated, gradient * flat.reciprocal().clamp(max=rule.amplification), gradient)
    return torch.where(gated, gradient * rule.amplification, gradient)
