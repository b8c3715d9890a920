# SPDX-License-Identifier: Apache-2.0
"""Special functions that PyTorch lacks: the logarithm of I_v(x) in any order, and what follows from it."""

from fasthash.special.bessel import bessel_ratio, log_bessel_i
from fasthash.special.von_mises_fisher import log_vmf_normalizer, mean_resultant_length

__all__ = ["bessel_ratio", "log_bessel_i", "log_vmf_normalizer", "mean_resultant_length"]
