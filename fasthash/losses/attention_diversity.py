# SPDX-License-Identifier: Apache-2.0
"""What ExchNet asks of attention parts: that they look at different places and channels, and agree within a class."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from fasthash import _checks
from fasthash._autocast import without_autocast
from fasthash.losses._inputs import shown_options
from fasthash.losses._sums import total


def hellinger_distance(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Hellinger distance `|sqrt(p) - sqrt(q)|_2 / sqrt(2)` of distributions given by their logarithms.

    In [0, 1]: 0 where equal, 1 where no place has a share in both. Logarithms keep the gradient finite where a share is
    zero in float32; at distance 0 the gradient is 0.

    Args:
        log_p: (..., n) logarithms of shares that sum to 1, as `log_softmax` gives them.
        log_q: (..., n), the same.

    Returns:
        (...), the dtype of the arguments.
    """
    difference = (0.5 * log_p).exp() - (0.5 * log_q).exp()
    distance: Tensor = torch.linalg.vector_norm(difference, dim=-1) * 0.5**0.5
    return distance


class AttentionDiversityLoss(nn.Module):
    """Spatial and channel diversity of attention parts.

        L    = spatial_weight * L_sp + channel_weight * L_cp
        L_sp = mean over images of (1 - mean over pairs of parts of Hel(P_j, P_k))
        L_cp = mean over images of [threshold - mean over pairs of parts of Hel(Q_j, Q_k)]_+

    P_j is the softmax over places of the mean over channels of part j's features, Q_j the softmax over channels of
    their mean over places. Each part is to look elsewhere, and to differ by `threshold` in what it sees.

    Args:
        spatial_weight: of L_sp, a finite number >= 0.
        channel_weight: of L_cp, a finite number >= 0.
        threshold: in [0, 1].
        check_finite: refuse NaN and infinite features; None does so on the CPU, but not under `torch.compile`.

    Raises:
        ValueError: an option outside its range.

    Source: Cui et al., "ExchNet: A Unified Hashing Network for Large-Scale Fine-Grained Image Retrieval", ECCV 2020,
    for the two constraints; the formulas and the threshold follow code of its group. The paper's own weights are not
    known.
    """

    def __init__(
        self,
        spatial_weight: float = 1.0,
        channel_weight: float = 1.0,
        threshold: float = 0.4,
        check_finite: bool | None = None,
    ) -> None:
        super().__init__()
        name = "AttentionDiversityLoss"
        _checks.require_finite_number(name, "spatial_weight", spatial_weight, nonnegative=True)
        _checks.require_finite_number(name, "channel_weight", channel_weight, nonnegative=True)
        _checks.require(0 <= threshold <= 1, name, "threshold", "in [0, 1]", threshold)
        self.spatial_weight = spatial_weight
        self.channel_weight = channel_weight
        self.threshold = threshold
        self.check_finite = check_finite

    def forward(self, features: Tensor) -> Tensor:
        """Loss of the parts of a batch.

        Args:
            features: (B, M, C, H, W) refined features of M >= 2 parts, any floating dtype.

        Returns:
            () float32, or float64 for float64 features.

        Raises:
            ValueError: features of another shape or dtype, or not finite.
        """
        name = "AttentionDiversityLoss"
        _checks.require_dtype(name, "features", features, _checks.FLOATS)
        shape = tuple(features.shape)
        fits = features.dim() == 5 and features.shape[1] >= 2 and features.numel() > 0
        _checks.require(fits, name, "features", "of shape (batch, parts >= 2, channels, height, width)", shape)
        _checks.require_finite(self.check_finite, name, "features", features)
        with without_autocast(features):
            places = (features if features.dtype == torch.float64 else features.float()).flatten(3)
            spatial = _mean_distance(places.mean(2).log_softmax(-1))
            channel = _mean_distance(places.mean(3).log_softmax(-1))
            return (
                self.spatial_weight * (1 - spatial).mean()
                + self.channel_weight * (self.threshold - channel).clamp(min=0).mean()
            )

    def extra_repr(self) -> str:
        """Shown by print(loss)."""
        return shown_options(self)


class FeatureAlignmentLoss(nn.Module):
    """Squared distance of each part's features from the anchor of its class.

        L = 1/B * sum over images i and parts j of |f_ij - c_yj|^2

    Anchors are the means of all training images of a class (`class_anchors`), made anew from time to time, and have no
    gradient.

    Args:
        check_finite: refuse NaN and infinite features; None does so on the CPU, but not under `torch.compile`.

    Source: Cui et al., "ExchNet", ECCV 2020, for aligning local features with class anchors. The squared form, on
    features before any of them is exchanged, is this library's choice: the paper's formula is not known to us, and code
    of its group takes the norm, not squared, of features after the exchange.
    """

    def __init__(self, check_finite: bool | None = None) -> None:
        super().__init__()
        self.check_finite = check_finite

    def forward(self, features: Tensor, labels: Tensor, anchors: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            features: (B, M, C) pooled features of M parts, any floating dtype.
            labels: (B,) int64 classes.
            anchors: (classes, M, C), any floating dtype.

        Returns:
            () float32, or float64 for float64 features.

        Raises:
            ValueError: shapes, dtypes or devices that do not fit, or features that are not finite.
        """
        name = "FeatureAlignmentLoss"
        _check_parts(name, features, labels)
        _checks.require_dtype(name, "anchors", anchors, _checks.FLOATS)
        fits = anchors.dim() == 3 and anchors.shape[1:] == features.shape[1:]
        expected = "of shape (classes, parts, channels) like features"
        _checks.require(fits, name, "anchors", expected, tuple(anchors.shape))
        _checks.require_same_device(name, "anchors", anchors, features.device)
        _checks.require_finite(self.check_finite, name, "features", features)
        dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
        own = anchors.detach()[labels].to(dtype)
        return total((features.to(dtype) - own).square().flatten(1)) / features.shape[0]


def class_anchors(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(classes, M, C) means of the parts' features over the items of each class; 0 where a class has none.

    Args:
        features: (N, M, C) pooled features of all training images, any floating dtype.
        labels: (N,) int64 classes in [0, classes).
        classes: how many there are.

    Returns:
        float32, or float64 for float64 features; without gradient.

    Raises:
        ValueError: shapes or dtypes that do not fit.
    """
    _check_parts("class_anchors", features, labels)
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    sums = features.new_zeros((classes, *features.shape[1:]), dtype=dtype)
    sums = sums.index_add(0, labels, features.detach().to(dtype))
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return sums / counts.reshape(-1, 1, 1)


def _mean_distance(log_shares: Tensor) -> Tensor:
    """(B, M, n) logarithms of distributions -> (B,) mean Hellinger distance of the pairs of M."""
    first, second = zip(*itertools.combinations(range(log_shares.shape[1]), 2), strict=True)
    return hellinger_distance(log_shares[:, list(first)], log_shares[:, list(second)]).mean(1)


def _check_parts(name: str, features: Tensor, labels: Tensor) -> None:
    _checks.require_dtype(name, "features", features, _checks.FLOATS)
    fits = features.dim() == 3 and features.numel() > 0
    _checks.require(fits, name, "features", "of shape (batch, parts, channels)", tuple(features.shape))
    _checks.require_dtype(name, "labels", labels, (torch.int64,))
    _checks.require(labels.shape == features.shape[:1], name, "labels", "of shape (batch,)", tuple(labels.shape))
    _checks.require_same_device(name, "labels", labels, features.device)
