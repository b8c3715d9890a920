# SPDX-License-Identifier: Apache-2.0
"""Residual networks (He, Zhang, Ren, Sun, CVPR 2016) with a stem for small or for large images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fasthash.models.conv import SpatialMean


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, added to the input.

    Where the size or the channels change, the input passes a 1 x 1 convolution on its way to the sum.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        return torch.relu(self.residual(images) + self.shortcut(images))


def resnet(in_channels: int, image_size: tuple[int, int], width: int, blocks: Sequence[int]) -> tuple[nn.Module, int]:
    """A residual network: a stem, then stages of ``blocks[i]`` blocks with ``width * 2**i`` channels, then the mean.

    Images of up to 64 pixels (shorter side) get a 3 x 3 stem that keeps their size; larger ones the 7 x 7 stem with
    pooling, which quarters it.

    Returns:
        The backbone, (B, C, H, W) to (B, F), and F.
    """
    if min(image_size) <= 64:
        stem = [nn.Conv2d(in_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    else:
        stem = [
            nn.Conv2d(in_channels, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
    layers: list[nn.Module] = list(stem)
    channels = width
    for stage, count in enumerate(blocks):
        for number in range(count):
            out_channels = width * 2**stage
            layers.append(ResidualBlock(channels, out_channels, 2 if stage > 0 and number == 0 else 1))
            channels = out_channels
    return nn.Sequential(*layers, SpatialMean()), channels
