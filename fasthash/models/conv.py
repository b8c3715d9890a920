# SPDX-License-Identifier: Apache-2.0
"""A plain convolutional network for small images."""

from __future__ import annotations

from torch import Tensor, nn


class SpatialMean(nn.Module):
    """The mean over all places: (B, C, H, W) to (B, C). Its gradient is the same in every run, on a GPU too."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        return images.mean((2, 3))


def conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3 x 3 convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def conv_small(in_channels: int, image_size: tuple[int, int], width: int) -> tuple[nn.Module, int]:
    """Stages of two 3 x 3 convolutions, halved by max-pooling until the shorter side has about 4 pixels left.

    Channels start at ``width`` and double with every stage, up to 4 x ``width``. From 16 pixels on the features are
    the mean over the last map; below, where it is small and places matter, the map itself through a linear layer.

    Returns:
        The backbone, (B, C, H, W) to (B, F), and F.
    """
    layers: list[nn.Module] = []
    channels, (height, wide) = in_channels, image_size
    out_channels = width
    while min(height, wide) > 4 or not layers:
        layers += [conv_block(channels, out_channels), conv_block(out_channels, out_channels), nn.MaxPool2d(2)]
        channels, height, wide = out_channels, height // 2, wide // 2
        out_channels = min(2 * out_channels, 4 * width)
    layers.append(conv_block(channels, out_channels))
    if min(image_size) >= 16:
        return nn.Sequential(*layers, SpatialMean()), out_channels
    flat = out_channels * height * wide
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 4 * width), nn.ReLU(inplace=True)), 4 * width
