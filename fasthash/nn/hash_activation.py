# SPDX-License-Identifier: Apache-2.0
"""Codes from embeddings that have as many values as there are bits: a hash layer without weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fasthash import _checks, ops
from fasthash.types import AMPLIFIERS, PENALTIES, HashOutput

_NAME = "HashActivation"


class HashActivation(nn.Module):
    """Embeddings -> relaxed codes of as many bits, and quantization penalty; packed codes with `encode`.

        z = sqrt(K) * e / |e|   (or e itself),   h = tanh(sharpness * z)

    An embedding of length sqrt(K) has as long a way to the origin as a code of ±1, and losses that look at directions
    alone leave the length of embeddings to chance. The signs, and so the codes, are those of the embedding either way:
    what other libraries get from embeddings by taking signs (`ubinary`).

    Args:
        normalize: bring embeddings to the length sqrt(K) first; one of length 0 stays 0.
        sharpness: factor inside tanh, a finite number > 0: the 0-d buffer `sharpness`, changed by `set_sharpness`.
        penalty: `l2`, `l1`, `log_cosh`, `cubic` or `none`, see `fasthash.ops.tanh_quantize`.
        amplifier: `wrong_side`, `magnitude` or `none`, see there.
        check_finite: refuse NaN and infinite embeddings; None does so on the CPU, but not on CUDA, where it would wait
            for the device, nor under `torch.compile`.

    Raises:
        ValueError: an option that is none of those named; in the call, embeddings of another shape or dtype, or not
            finite.

    Example:
        >>> logits, codes, penalty = HashActivation()(embeddings)
    """

    sharpness: Tensor

    def __init__(
        self,
        normalize: bool = True,
        *,
        sharpness: float = 1.0,
        penalty: str = "l2",
        amplifier: str = "wrong_side",
        check_finite: bool | None = None,
    ) -> None:
        super().__init__()
        _checks.require_choice(_NAME, "penalty", penalty, PENALTIES)
        _checks.require_choice(_NAME, "amplifier", amplifier, AMPLIFIERS)
        self.normalize = normalize
        self.penalty = penalty
        self.amplifier = amplifier
        self.check_finite = check_finite
        self.register_buffer("sharpness", torch.tensor(1.0))
        self.set_sharpness(sharpness)

    def set_sharpness(self, value: float) -> None:
        """Changes the factor inside tanh in place; `value` has to be a finite number > 0, else ValueError."""
        _checks.require_finite_number(_NAME, "sharpness", value, positive=True)
        self.sharpness.fill_(value)

    def forward(self, embeddings: Tensor) -> HashOutput:
        """Relaxed codes and penalty of embeddings (B, K); the logits are z. Half precisions keep their dtype."""
        self._check(embeddings)
        logits = embeddings
        if self.normalize:
            wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
            logits = (nn.functional.normalize(wide) * math.sqrt(embeddings.shape[1])).to(embeddings.dtype)
        out = ops.tanh_quantize(logits, self.sharpness.float(), penalty=self.penalty, amplifier=self.amplifier)
        penalty = out.codes.new_zeros((), dtype=torch.float32) if self.penalty == "none" else out.penalty
        return HashOutput(logits, out.codes, penalty)

    @torch.no_grad()
    def encode(self, embeddings: Tensor) -> Tensor:
        """Packed codes (B, ceil(K / 8)) uint8 of embeddings (B, K), in `numpy.packbits` order."""
        self._check(embeddings)
        return ops.pack_codes(embeddings)

    def _check(self, embeddings: Tensor) -> None:
        _checks.require_dtype(_NAME, "embeddings", embeddings, _checks.FLOATS)
        shaped = embeddings.dim() == 2 and embeddings.numel() > 0
        _checks.require(shaped, _NAME, "embeddings", "of shape (batch, bits) and not empty", tuple(embeddings.shape))
        _checks.require_finite(self.check_finite, _NAME, "embeddings", embeddings)

    def extra_repr(self) -> str:
        """Shown by print(layer); the sharpness lives in its buffer and is not read here."""
        return f"normalize={self.normalize}, penalty={self.penalty!r}, amplifier={self.amplifier!r}"
