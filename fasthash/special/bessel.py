# SPDX-License-Identifier: Apache-2.0
"""log I_v(x), the modified Bessel function of the first kind, in any order, with derivatives in x."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.special import _debye

# Below this hypot(v, x) the power series is summed, above it the uniform expansion: both are exact to float64 there.
_SWITCH = 20.0
_SERIES_TERMS = 44  # the series' terms fall below 1e-17 of its sum for all x <= _SWITCH
_CHUNK = 1 << 16  # elements at once: temporaries hold up to 44 numbers for each

# (power of t^2, k), the column k = 0 left out
_DEBYE = torch.tensor(_debye.coefficients(), dtype=torch.float64).T[:, 1:].contiguous()


def log_bessel_i(v: float | Tensor, x: Tensor) -> Tensor:
    r"""`log I_v(x)`, without overflow or underflow, for orders `v >= 0` and arguments `x >= 0`.

    With `s = hypot(v, x)`: for s < 20 the power series

        I_v(x) = (x / 2)^v / Gamma(v + 1) * sum over k of (x^2 / 4)^k / (k! (v + 1) ... (v + k)),

    from 20 on Debye's uniform expansion, which holds for large order, large argument, or both,

        log I_v(x) = s + v log(x / (v + s)) - 1/2 log(2 pi s) + log sum over k of u_k(v / s) / v^k.

    The derivative in x is `I_{v+1}(x) / I_v(x) + v / x`, see `bessel_ratio`; it can be differentiated again.

    Args:
        v: order, a number or a tensor that broadcasts with x; it gets no gradient.
        x: floating tensor of any shape. Everything is computed in float64 and rounded once.

    Returns:
        The broadcast shape, in the dtype of x. `v = x = 0` gives 0, `x = 0` with v > 0 minus infinity (and an infinite
        derivative), negative v or x and NaN give NaN.

    Raises:
        ValueError: x is not floating; v is a negative number, or a tensor that requires a gradient or lies elsewhere.

    Numerics: for v in [0, 2000] and x in [0, 1e5] float64 values are off by less than 2e-15 max(1, s, |log I_v(x)|),
    first derivatives by less than 1e-14 of themselves, second ones by less than 1e-14 max(1, size), against mpmath
    at 50 digits. float32 values are those, rounded.

    Source: DLMF 10.25.2, 10.41.3 and 10.41.10.
    """
    order, argument = _operands("log_bessel_i", v, x)
    return _value_and_ratio(order, argument, scaled=False)[0].to(x.dtype)


def bessel_ratio(v: float | Tensor, x: Tensor) -> Tensor:
    """`I_{v+1}(x) / I_v(x)`, in [0, 1), with derivatives in x.

    It is computed from the same series, and for s >= 20 from the difference of two expansions, taken analytically, so
    that no digits cancel. Its derivative is `1 - r^2 - (2 v + 1) r / x`, which loses digits for x far above v: in
    float64 the absolute error stays below 1e-14. Arguments, returns and errors are those of `log_bessel_i`; `x = 0`
    gives 0.
    """
    order, argument = _operands("bessel_ratio", v, x)
    return _value_and_ratio(order, argument, scaled=True)[1].to(x.dtype)


def log_scaled_bessel_i(order: Tensor, argument: Tensor) -> Tensor:
    """`log(I_v(x) / x^v)`, finite at x = 0, of float64 tensors of one shape."""
    return _value_and_ratio(order, argument, scaled=True)[0]


def _operands(op: str, v: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Order and argument as float64 tensors of one shape."""
    _checks.require_dtype(op, "x", x, _checks.FLOATS)
    if isinstance(v, Tensor):
        _checks.require(not v.requires_grad, op, "v", "without requires_grad", "a tensor that requires it")
        _checks.require_same_device(op, "v", v, x.device)
        shape = torch.broadcast_shapes(v.shape, x.shape)  # type: ignore[no-untyped-call]
        return v.to(torch.float64).expand(shape), x.to(torch.float64).expand(shape)
    _checks.require(0.0 <= v < math.inf, op, "v", "a finite number >= 0", v)
    argument = x.to(torch.float64)
    return torch.full_like(argument, v, requires_grad=False), argument


def _value_and_ratio(order: Tensor, argument: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
    """`log I_v(x)`, or `log(I_v(x) / x^v)`, and `I_{v+1}(x) / I_v(x)`; some elements at a time where they are many."""
    if torch.compiler.is_compiling() or order.numel() <= _CHUNK:
        return _LogBessel.apply(order, argument, scaled)  # type: ignore[no-untyped-call, no-any-return]
    pieces = zip(torch.split(order.reshape(-1), _CHUNK), torch.split(argument.reshape(-1), _CHUNK), strict=True)
    values, ratios = zip(*(_LogBessel.apply(*piece, scaled) for piece in pieces), strict=True)  # type: ignore[no-untyped-call]
    return torch.cat(values).view(argument.shape), torch.cat(ratios).view(argument.shape)


class _LogBessel(torch.autograd.Function):
    """Value and ratio. Each has a derivative that the ratio gives, so it can be differentiated any number of times."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], order: Tensor, argument: Tensor, scaled: bool
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """The mapped dimension is one more of an elementwise function; a look at the values needs a plain tensor."""
        operands = (
            each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip((order, argument), in_dims, strict=False)
        )
        return _LogBessel.apply(*operands, scaled), (0, 0)  # type: ignore[no-untyped-call]

    @staticmethod
    def forward(order: Tensor, argument: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        small = torch.hypot(order, argument) < _SWITCH
        # A look at the values saves half of the work; it would wait for a GPU, and break a graph.
        looks = order.device.type == "cpu" and not torch.compiler.is_compiling()
        if looks and bool(small.all()):
            found = _series(order, argument, scaled)
        elif looks and not bool(small.any()):
            found = _expansion(order, argument, scaled)
        else:
            near = _series(torch.where(small, order, 0.0), torch.where(small, argument, 0.0), scaled)
            far = _expansion(torch.where(small, _SWITCH, order), torch.where(small, _SWITCH, argument), scaled)
            found = torch.where(small, near[0], far[0]), torch.where(small, near[1], far[1])
        valid = (order >= 0) & (argument >= 0)
        return torch.where(valid, found[0], math.nan), torch.where(valid, found[1], math.nan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: tuple[Tensor, Tensor]) -> None:
        order, argument, ctx.scaled = inputs
        ctx.save_for_backward(order, argument, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, Tensor | None, None]:
        order, argument, ratio = ctx.saved_tensors
        of_value, of_ratio = gradients
        gradient: Tensor | None = None
        if of_value is not None:
            slope = ratio if ctx.scaled else ratio + torch.where(order == 0, 0.0, order / argument)
            gradient = of_value * slope
        if of_ratio is not None:
            at_zero = argument == 0
            over_argument = torch.where(at_zero, 0.5 / (order + 1), ratio / torch.where(at_zero, 1.0, argument))
            part = of_ratio * (1 - ratio.square() - (2 * order + 1) * over_argument)
            gradient = part if gradient is None else gradient + part
        return None, gradient, None


def _series(v: Tensor, x: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
    """Value and ratio where `hypot(v, x)` is small, from the power series of the orders v and v + 1."""
    k = torch.arange(1, _SERIES_TERMS + 1, dtype=torch.float64, device=x.device)
    orders = torch.stack([v, v + 1]).unsqueeze(-1)
    sums = ((0.25 * x.square()).unsqueeze(-1) / (k * (orders + k))).cumprod(-1).sum(-1)
    power = -math.log(2.0) * v if scaled else torch.xlogy(v, 0.5 * x)
    ratio = 0.5 * x / (v + 1) * (1 + sums[1]) / (1 + sums[0])
    return power - torch.lgamma(v + 1) + torch.log1p(sums[0]), ratio


def _expansion(v: Tensor, x: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
    """Value and ratio where `hypot(v, x)` is large, from Debye's expansion for the orders v and v + 1."""
    orders = torch.stack([v, v + 1])
    s = torch.hypot(orders, x)
    sums = _debye_sum(orders, s)
    near, up = s[0], s[1]
    power = -v * torch.log(v + near) if scaled else torch.xlogy(v, x / (v + near))
    value = near + power - 0.5 * torch.log(2 * math.pi * near) + torch.log1p(sums[0])
    rise = (2 * v + 1) / (up + near)  # up - near
    exponent = rise - v * torch.log1p((1 + rise) / (v + near)) - 0.5 * torch.log1p(rise / near)
    return value, x / (v + 1 + up) * exponent.exp() * (1 + sums[1]) / (1 + sums[0])


def _debye_sum(v: Tensor, s: Tensor) -> Tensor:
    """The sum over k >= 1 of `u_k(v / s) / v^k`, written as `w_k(v^2 / s^2) / s^k`, which also serves v = 0."""
    degrees = (*s.shape, _debye.TERMS - 1)
    squares = (v / s).square().unsqueeze(-1).expand(degrees).cumprod(-1)  # powers 1, 2, ...
    powers = s.reciprocal().unsqueeze(-1).expand(degrees).cumprod(-1)
    lowest, others = _DEBYE.to(s.device).tensor_split((1,))
    return ((squares @ others + lowest) * powers).sum(-1)
