# SPDX-License-Identifier: Apache-2.0
"""The von Mises-Fisher distribution on the unit sphere of R^d: its normaliser and its mean resultant length."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.special.bessel import bessel_ratio, log_scaled_bessel_i


def log_vmf_normalizer(dim: int, kappa: Tensor) -> Tensor:
    r"""`log C_d(kappa)`, where the density of a unit vector x is `C_d(kappa) exp(kappa mu·x)`.

        C_d(kappa) = kappa^(d/2 - 1) / ((2 pi)^(d/2) I_{d/2 - 1}(kappa))

    The quotient `kappa^v / I_v(kappa)` is computed as one function, so that no digits cancel for a small kappa; at 0 it
    is one over the area of the sphere. The derivative in kappa is `-A_d(kappa)`, see `mean_resultant_length`.

    Args:
        dim: d, at least 2.
        kappa: floating tensor of any shape, >= 0. Computed in float64 and rounded once.

    Returns:
        The shape and dtype of kappa; NaN where kappa is negative or NaN.

    Raises:
        ValueError: `dim` < 2, or kappa is not floating.
    """
    _check("log_vmf_normalizer", dim, kappa)
    argument = kappa.to(torch.float64)
    order = torch.full_like(argument, 0.5 * dim - 1, requires_grad=False)
    return (-0.5 * dim * math.log(2 * math.pi) - log_scaled_bessel_i(order, argument)).to(kappa.dtype)


def mean_resultant_length(dim: int, kappa: Tensor) -> Tensor:
    """`A_d(kappa) = I_{d/2}(kappa) / I_{d/2 - 1}(kappa)`, the length of the mean of unit vectors with that kappa.

    Arguments, returns and errors are those of `log_vmf_normalizer`; differentiable in kappa, more than once.
    """
    _check("mean_resultant_length", dim, kappa)
    return bessel_ratio(0.5 * dim - 1, kappa)


def _check(op: str, dim: int, kappa: Tensor) -> None:
    _checks.require(dim >= 2, op, "dim", ">= 2", dim)
    _checks.require_dtype(op, "kappa", kappa, _checks.FLOATS)
