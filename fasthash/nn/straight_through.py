# SPDX-License-Identifier: Apache-2.0
"""Signs with a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fasthash import _checks

BACKWARDS = ("identity", "clipped")


class StraightThroughSign(nn.Module):
    """`sgn(z)` forward, with sgn(0) = +1; backward passes the gradient on as if it were the identity.

    Args:
        backward: `identity`, or `clipped`: no gradient where `|z| > 1`, so that logits are not driven outwards forever.

    Raises:
        ValueError: another word; in the call, values that are not floating.

    Source: the straight-through estimator of Hinton and of Bengio et al. (arXiv 1308.3432); GreedyHash (Su et al.,
    NeurIPS 2018, released code) uses `identity`, binarized networks (Courbariaux et al., 2016) use `clipped`.

    Example:
        >>> StraightThroughSign()(torch.tensor([-0.3, 0.0, 2.0]))
        tensor([-1.,  1.,  1.])
    """

    def __init__(self, backward: str = "identity") -> None:
        super().__init__()
        _checks.require_choice("StraightThroughSign", "backward", backward, BACKWARDS)
        self.backward = backward

    def forward(self, values: Tensor) -> Tensor:
        """±1 in the shape and dtype of `values`; NaN stays NaN."""
        return straight_through_sign(values, self.backward)

    def extra_repr(self) -> str:
        """Shown by print(layer)."""
        return f"backward={self.backward!r}"


def straight_through_sign(values: Tensor, backward: str = "identity") -> Tensor:
    """What `StraightThroughSign` computes, as a function."""
    _checks.require_dtype("straight_through_sign", "values", values, _checks.FLOATS)
    signs: Tensor = _Sign.apply(values, backward == "clipped")  # type: ignore[no-untyped-call]
    return signs


def signs(values: Tensor) -> Tensor:
    """±1 in the shape and dtype of `values`, without a gradient: sgn(±0) = +1, NaN stays NaN.

    Comparisons and `torch.where` take four times as long on a CPU.
    """
    ones = torch.ones_like(values).copysign_(values + 0.0)  # -0.0 + 0.0 = +0.0
    return ones.add_(values.clamp(-1, 1).mul_(0))


class _Sign(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, clipped: bool) -> Tensor:
        return signs(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, bool], output: Tensor) -> None:
        values, clipped = inputs
        ctx.save_for_backward(values if clipped else None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        (gradient,) = gradients
        return gradient if values is None else torch.where(values.abs() <= 1, gradient, 0.0), None
