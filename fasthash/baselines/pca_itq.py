# SPDX-License-Identifier: Apache-2.0
"""PCA-ITQ: principal components, rotated until they lie close to their signs."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.baselines._linear import LinearEncoder

_ROWS = 4096  # of the covariance, accumulated in float64


class PCAITQ(LinearEncoder):
    """Bits `sgn((x - mean) W R)`: W the K leading principal directions, R a rotation learned by ITQ.

    Iterative quantization minimises `|B - V R|^2` over codes B of ±1 and rotations R, for V = (x - mean) W. From a
    random rotation it alternates the two exact steps `B = sgn(V R)` and `R = P Q^T` with `P S Q^T` the singular value
    decomposition of `V^T B`; the error never grows.

    There are no more than F principal directions of F-dimensional features. For K > F bits all F are taken, and R is
    an (F, K) matrix with orthonormal rows found by the same two steps: an extension beyond the paper, whose codes have
    K <= F. Directions without variance do no harm, as R mixes them with the others.

    Args:
        bits: code length K >= 1.
        seed: of the first rotation.
        iterations: alternations >= 0; the paper's 50 are the default, 0 is PCA with a random rotation.

    Raises:
        ValueError: `bits` < 1 or `iterations` < 0.

    Source:
        Gong and Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes", CVPR 2011.

    Example:
        >>> encoder = PCAITQ(32).fit(train_features)
        >>> packed = encoder.encode(features)  # (N, 4) uint8
    """

    def __init__(self, bits: int, *, seed: int = 0, iterations: int = 50) -> None:
        super().__init__(bits, seed=seed)
        _checks.require(iterations >= 0, self._name, "iterations", ">= 0", iterations)
        self.iterations = iterations

    def _learn(self, features: Tensor, mean: Tensor) -> Tensor:
        directions = _principal_directions(features, mean, self.bits)
        components = torch.cat([(rows.double() - mean) @ directions for rows in torch.split(features, _ROWS)])
        rotation = _orthonormal(self._gaussian(directions.shape[1], self.bits).to(mean.device))
        for _ in range(self.iterations):
            codes = torch.where(components @ rotation >= 0, 1.0, -1.0).to(components.dtype)
            rotation = _orthonormal(components.T @ codes)
        return directions @ rotation


def _principal_directions(features: Tensor, mean: Tensor, count: int) -> Tensor:
    """(F, min(count, F)) float64 eigenvectors of the covariance, by falling variance."""
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    for rows in torch.split(features, _ROWS):
        centred = rows.double() - mean
        covariance += centred.T @ centred
    ascending: Tensor = torch.linalg.eigh(covariance).eigenvectors
    return ascending.flip(1)[:, :count]


def _orthonormal(matrix: Tensor) -> Tensor:
    """The matrix (D, K), D <= K, with orthonormal rows that is closest to the given one."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    closest: Tensor = left @ right
    return closest
