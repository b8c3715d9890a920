# SPDX-License-Identifier: Apache-2.0
"""A hash layer whose every bit sees its own slice of the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fasthash import _checks


class DivideAndEncode(nn.Module):
    """Splits features into as many slices as there are bits, and makes one logit of each.

        z_k = w_k · x_[(k-1) s + 1 .. k s] + c_k

    Bits that share no inputs repeat one another less, and the layer has `K (s + 1)` weights in place of `K (K s + 1)`.

    Args:
        in_features: K s, a multiple of `bits`; DDH's release uses s = 4.
        bits: code length K.
        bias: learn c.

    Attributes:
        weight: (K, s) parameter, initialised uniformly after He for s inputs.
        bias: (K,) parameter, or None.

    Raises:
        ValueError: `bits` < 1, or `in_features` no positive multiple of it; in the call, features of another width.

    Source: Lai et al., CVPR 2015, and DDH (Lin, Li, Tang, IJCAI 2017; the authors' released code), where batch
    normalisation and tanh follow.

    Example:
        >>> layer = nn.Sequential(DivideAndEncode(128, 32), nn.BatchNorm1d(32), nn.Tanh())
    """

    def __init__(self, in_features: int, bits: int, *, bias: bool = True) -> None:
        super().__init__()
        _checks.require(bits >= 1, "DivideAndEncode", "bits", ">= 1", bits)
        fits = in_features >= bits and in_features % bits == 0
        _checks.require(fits, "DivideAndEncode", "in_features", f"a multiple of bits = {bits}", in_features)
        self.weight = nn.Parameter(torch.empty(bits, in_features // bits))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="linear")
        self.bias = nn.Parameter(torch.zeros(bits)) if bias else None

    def forward(self, features: Tensor) -> Tensor:
        """(..., K s) features to (..., K) logits."""
        bits, share = self.weight.shape
        fits = features.shape[-1:] == (bits * share,)
        expected = f"of shape (..., {bits * share})"
        _checks.require(fits, "DivideAndEncode", "features", expected, tuple(features.shape))
        slices = features.reshape(*features.shape[:-1], bits, share)
        logits: Tensor = (slices * self.weight).sum(-1)
        return logits if self.bias is None else logits + self.bias

    def extra_repr(self) -> str:
        """Shown by print(layer)."""
        bits, share = self.weight.shape
        return f"in_features={bits * share}, bits={bits}, bias={self.bias is not None}"
