# SPDX-License-Identifier: Apache-2.0
"""Encoders whose bits are the signs of linear functions of centred features."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from typing_extensions import Self

from fasthash import _checks, ops


class LinearEncoder(ABC):
    """Bits `(features - mean) @ weight >= 0`; `fit` learns mean (F,) and weight (F, K)."""

    def __init__(self, bits: int, *, seed: int = 0) -> None:
        self._name = type(self).__name__
        _checks.require(bits >= 1, self._name, "bits", ">= 1", bits)
        self.bits = bits
        self.seed = seed
        self.mean: Tensor | None = None
        self.weight: Tensor | None = None

    def fit(self, features: Tensor) -> Self:
        """Learns from training features (N, F), floating point and N >= 2, on whose device everything then lives.

        Returns:
            The encoder itself.

        Raises:
            ValueError: features of another shape or dtype, or not finite.
        """
        _checks.require_dtype(self._name, "features", features, _checks.FLOATS)
        shaped = features.dim() == 2 and features.shape[0] >= 2 and features.shape[1] >= 1
        _checks.require(shaped, self._name, "features", "of shape (at least 2, width)", tuple(features.shape))
        _checks.require_finite(True, self._name, "features", features)
        mean = features.mean(0, dtype=torch.float64)
        self.weight = self._learn(features, mean).float()
        self.mean = mean.float()
        return self

    def project(self, features: Tensor) -> Tensor:
        """(N, K) float32 values whose signs are the bits, of features (N, F).

        Raises:
            ValueError: `fit` has not been called, or features of another width, dtype or device.
        """
        if self.mean is None or self.weight is None:
            raise ValueError(f"{self._name}: fit must be called before encode")
        _checks.require_dtype(self._name, "features", features, _checks.FLOATS)
        width = self.mean.shape[0]
        fits = features.dim() == 2 and features.shape[1] == width
        _checks.require(fits, self._name, "features", f"of shape (rows, {width}) as in fit", tuple(features.shape))
        _checks.require_same_device(self._name, "features", features, self.mean.device)
        return (features.float() - self.mean) @ self.weight

    def encode(self, features: Tensor) -> Tensor:
        """Packed codes (N, ceil(K / 8)) uint8 of features (N, F), in `numpy.packbits` order; errors as `project`."""
        return ops.pack_codes(self.project(features))

    @abstractmethod
    def _learn(self, features: Tensor, mean: Tensor) -> Tensor:
        """The weight (F, K) from features (N, F) and their mean (F,) float64."""

    def _gaussian(self, rows: int, columns: int) -> Tensor:
        """(rows, columns) float64 standard normal numbers, the same for a seed on every device."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(rows, columns, generator=generator, dtype=torch.float64)
