# SPDX-License-Identifier: Apache-2.0
"""What all hashing networks share: pixels in, a backbone, a hash layer, codes out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthash.nn import HashLayer, HashOutput


class PixelNorm(nn.Module):
    """Turns pixels into numbers a network likes: ``(pixels / 255 - mean) / deviation``, channel by channel.

    ``mean`` and ``deviation`` are buffers, so a saved network brings its own.

    Args:
        mean: Mean of each channel in [0, 1].
        deviation: Standard deviation of each channel in [0, 1], above 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 in 0..255, or floating in 0..1, to (B, C, H, W) of the buffers' dtype."""
        scaled = images.to(self.mean.dtype) / 255 if images.dtype == torch.uint8 else images
        return (scaled - self.mean) / self.deviation


class HashModel(nn.Module):
    """A network from images to hash codes: `PixelNorm`, a backbone, a `fasthash.nn.HashLayer`.

    Args:
        backbone: (B, C, H, W) to features (B, F).
        hash_layer: Features (B, F) to `fasthash.nn.HashOutput`.
        in_channels: Channels C of the images.
    """

    def __init__(self, backbone: nn.Module, hash_layer: HashLayer, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.pixels = PixelNorm([0.5] * in_channels, [0.5] * in_channels)
        self.backbone = backbone
        self.hash = hash_layer

    def set_pixel_statistics(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Sets the channels' mean and standard deviation, both in [0, 1], that images are normalised by."""
        if not len(mean) == len(deviation) == self.in_channels:
            raise ValueError(
                f"set_pixel_statistics: mean and deviation must have {self.in_channels} numbers each, "
                f"got {len(mean)} and {len(deviation)}"
            )
        self.pixels.mean.copy_(torch.tensor(mean).view(-1, 1, 1))
        self.pixels.deviation.copy_(torch.tensor(deviation).view(-1, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), uint8 or floating in [0, 1], to the features (B, F) that are hashed.

        Raises:
            ValueError: ``images`` is not (B, C, H, W) with the network's C.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(f"images must be (B, {self.in_channels}, H, W), got {tuple(images.shape)}")
        features: Tensor = self.backbone(self.pixels(images))
        return features

    def forward(self, images: Tensor) -> HashOutput:
        """Images (B, C, H, W) to ``(logits, codes, penalty)``: (B, K), (B, K), ()."""
        output: HashOutput = self.hash(self.features(images))
        return output

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to packed codes (B, ceil(K / 8)) uint8; call ``eval()`` first."""
        return self.hash.encode(self.features(images))
