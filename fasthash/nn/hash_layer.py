# SPDX-License-Identifier: Apache-2.0
"""The layer between a backbone's features and its hash codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash.nn.divide_and_encode import DivideAndEncode
from fasthash.types import AMPLIFIERS, PENALTIES, HashOutput


class HashLayer(nn.Module):
    """Features -> logits -> relaxed codes and quantization penalty, in training; packed codes with `encode`.

    `logits = batch_norm(features @ weight.T + bias)`, `codes = tanh(sharpness * logits)`; activation, penalty and the
    gradient amplifier are `fasthash.ops.tanh_quantize`, whose options the keywords are. The layer can be copied,
    compiled with `fullgraph=True` and used under autocast.

    Args:
        in_features: width F of the features.
        bits: code length K.
        bias: learn a bias; batch normalisation brings its own and replaces it.
        batch_norm: normalise the logits over the batch, which keeps the bits balanced.
        divide: each bit sees its own F / K features (`DivideAndEncode`) in place of all.
        sharpness: factor inside tanh, a finite number > 0. It is the 0-d buffer `sharpness`, saved in `state_dict` and
            changed by `set_sharpness` (continuation), without a new graph under `torch.compile`.
        penalty: `l2`, `l1`, `log_cosh`, `cubic` or `none`.
        amplifier: `wrong_side`, `magnitude` or `none`.
        amplification: amplification factor, 10 when None, or the cap of the inverse factor, 100 when None.
        inverse: amplify by `min(1 / (1 - h^2), amplification)`.
        threshold: saturation `|h|` above which the amplifier acts.
        check_finite: refuse NaN and infinite logits; None does so on the CPU, but not on CUDA, where it would wait for
            the device, nor under `torch.compile`.

    Attributes:
        bits: code length K.
        in_features: width F of the features.

    Raises:
        ValueError: `in_features` or `bits` < 1, with `divide` features that are no multiple of the bits, `sharpness`
            not a finite number > 0; in the call, what `tanh_quantize` refuses, and logits that are not finite.

    Source:
        The gradient amplifier follows the idea of Zhao et al., IJCAI 2021 (arXiv 2102.00648), with this library's own
        rule; a growing sharpness is the continuation of HashNet (Cao et al., ICCV 2017).

    Example:
        >>> layer = HashLayer(512, 32)
        >>> logits, codes, penalty = layer(features)
        >>> packed = layer.encode(features)  # (B, 4) uint8
    """

    sharpness: Tensor

    def __init__(
        self,
        in_features: int,
        bits: int,
        *,
        bias: bool = True,
        batch_norm: bool = False,
        divide: bool = False,
        sharpness: float = 1.0,
        penalty: str = "l2",
        amplifier: str = "wrong_side",
        amplification: float | None = None,
        inverse: bool = False,
        threshold: float = 0.99,
        check_finite: bool | None = None,
    ) -> None:
        super().__init__()
        _checks.require(in_features >= 1, "HashLayer", "in_features", ">= 1", in_features)
        _checks.require(bits >= 1, "HashLayer", "bits", ">= 1", bits)
        _checks.require_choice("HashLayer", "penalty", penalty, PENALTIES)
        _checks.require_choice("HashLayer", "amplifier", amplifier, AMPLIFIERS)
        self.bits = bits
        self.in_features = in_features
        kind = DivideAndEncode if divide else nn.Linear
        self.linear = kind(in_features, bits, bias=bias and not batch_norm)
        self.norm = nn.BatchNorm1d(bits) if batch_norm else None
        self.penalty = penalty
        self.amplifier = amplifier
        self.amplification = amplification
        self.inverse = inverse
        self.threshold = threshold
        self.check_finite = check_finite
        self.register_buffer("sharpness", torch.tensor(1.0))
        self.set_sharpness(sharpness)

    def set_sharpness(self, value: float) -> None:
        """Changes the factor inside tanh in place; `value` has to be a finite number > 0, else ValueError."""
        _checks.require_finite_number("HashLayer", "sharpness", value, positive=True)
        self.sharpness.fill_(value)

    def forward(self, features: Tensor) -> HashOutput:
        """Relaxed codes and penalty of features (B, F)."""
        logits = self._project(features)
        if self.norm is not None:
            logits = self.norm(logits)
        _checks.require_finite(self.check_finite, "HashLayer", "logits", logits)
        out = ops.tanh_quantize(
            logits,
            self.sharpness.float(),  # a layer cast to half precision has cast its buffer too
            penalty=self.penalty,
            amplifier=self.amplifier,
            amplification=self.amplification,
            inverse=self.inverse,
            threshold=self.threshold,
        )
        penalty = out.codes.new_zeros((), dtype=torch.float32) if self.penalty == "none" else out.penalty
        return HashOutput(logits, out.codes, penalty)

    @torch.no_grad()
    def encode(self, features: Tensor) -> Tensor:
        """Packed codes (B, ceil(K / 8)) uint8 of features (B, F), in `numpy.packbits` order.

        Batch normalisation uses its running statistics, in training mode too, so that an image's code does not depend
        on the batch it comes in.
        """
        logits = self._project(features)
        if self.norm is not None:
            norm = self.norm
            logits = nn.functional.batch_norm(
                logits, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
            )
        _checks.require_finite(self.check_finite, "HashLayer", "logits", logits)
        return ops.pack_codes(logits)

    def _project(self, features: Tensor) -> Tensor:
        fits = features.dim() == 2 and features.shape[1] == self.in_features
        expected = f"of shape (batch, {self.in_features})"
        _checks.require(fits, "HashLayer", "features", expected, tuple(features.shape))
        logits: Tensor = self.linear(features)
        return logits

    def extra_repr(self) -> str:
        """Shown by print(layer); the sharpness lives in its buffer and is not read here."""
        return f"bits={self.bits}, penalty={self.penalty!r}, amplifier={self.amplifier!r}"
