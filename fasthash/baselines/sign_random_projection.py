# SPDX-License-Identifier: Apache-2.0
"""Sign random projection: random hyperplanes through the mean of the training features."""

from __future__ import annotations

from torch import Tensor

from fasthash.baselines._linear import LinearEncoder


class SignRandomProjection(LinearEncoder):
    """Bits `sgn(w_j · (x - mean))` with directions `w_j` drawn from a standard normal distribution.

    For vectors at angle theta a bit differs with probability theta / pi, so the Hamming distance estimates the angle
    between centred features. Centring is not part of the original: features that are all positive, such as pixels,
    share most bits without it.

    Args:
        bits: code length K >= 1, with no upper bound.
        seed: of the random directions.

    Raises:
        ValueError: `bits` < 1.

    Source:
        Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002.

    Example:
        >>> encoder = SignRandomProjection(32).fit(train_features)
        >>> packed = encoder.encode(features)  # (N, 4) uint8
    """

    def _learn(self, features: Tensor, mean: Tensor) -> Tensor:
        return self._gaussian(len(mean), self.bits).to(mean.device)
