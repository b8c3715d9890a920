# SPDX-License-Identifier: Apache-2.0
"""The network of discriminative deep hashing, for small images of faces."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALLEST = 24  # pixels: below, nothing is left for the last stage
SHARE = 4  # face features for each bit, as the authors released it


class LocallyConnected(nn.Module):
    """A 2 x 2 convolution whose weights differ from place to place.

        out[:, :, y, x] = weight[y, x] · in[:, :, y : y + 2, x : x + 2] + bias[:, y, x]

    Args:
        in_channels: C.
        out_channels: C'.
        size: (height, width) of the images, at least 2 each; others are refused by the shapes.
    """

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.places = (size[0] - 1, size[1] - 1)
        count = self.places[0] * self.places[1]
        self.weight = nn.Parameter(torch.empty(count, out_channels, 4 * in_channels))
        bound = (6 / (4 * in_channels)) ** 0.5  # He for 4 C inputs
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(out_channels, count))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H - 1, W - 1)."""
        patches = functional.unfold(images, 2)  # (B, 4 C, places)
        out = torch.einsum("bip,poi->bop", patches, self.weight) + self.bias
        return out.reshape(*out.shape[:2], *self.places)


class FaceFeatures(nn.Module):
    """Three convolutions and a locally connected stage, the last two of them side by side, then a linear layer.

    conv 3 x 3, conv 2 x 2, conv 2 x 2, each with batch normalisation, ReLU and max-pooling by 2, give P3; a locally
    connected 2 x 2 stage with batch normalisation and ReLU gives A4. Both, flat and joined (860 values for images of
    32 x 32), pass a linear layer, batch normalisation and ReLU.

    Args:
        in_channels: C of the images.
        image_size: (height, width), at least 24 each.
        width: channels of the first stage; the following have 2, 3 and 4 times as many.
        features: how many face features.

    Attributes:
        merged: width of P3 and A4 joined.

    Raises:
        ValueError: images below 24 pixels.
    """

    def __init__(self, in_channels: int, image_size: tuple[int, int], width: int, features: int) -> None:
        super().__init__()
        if min(image_size) < _SMALLEST:
            raise ValueError(f"build_model: image_size must be at least {_SMALLEST} for ddh, got {min(image_size)}")
        height, wide = (_after_pooling(side) for side in image_size)
        self.convolutions = nn.Sequential(
            *_stage(in_channels, width, 3), *_stage(width, 2 * width, 2), *_stage(2 * width, 3 * width, 2)
        )
        self.local = nn.Sequential(
            LocallyConnected(3 * width, 4 * width, (height, wide)), nn.BatchNorm2d(4 * width), nn.ReLU(inplace=True)
        )
        self.merged = 3 * width * height * wide + 4 * width * (height - 1) * (wide - 1)
        self.face = nn.Sequential(
            nn.Linear(self.merged, features, bias=False), nn.BatchNorm1d(features), nn.ReLU(inplace=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")

    def merge(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to P3 and A4 as rows (B, merged)."""
        pooled = self.convolutions(images)
        return torch.cat([pooled.flatten(1), self.local(pooled).flatten(1)], 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to face features (B, features)."""
        features: Tensor = self.face(self.merge(images))
        return features


def ddh(in_channels: int, image_size: tuple[int, int], width: int, bits: int) -> tuple[nn.Module, int]:
    """The backbone, (B, C, H, W) to (B, 4 K), and 4 K: four features for each bit, to be divided and encoded.

    Source: Lin, Li, Tang, "Discriminative Deep Hashing for Scalable Face Image Retrieval", IJCAI 2017, after the
    authors' released code, with its width 20 for images of 32 x 32; other sizes are this library's. Train with
    `fasthash.losses.DDHLoss` on the codes.
    """
    return FaceFeatures(in_channels, image_size, width, SHARE * bits), SHARE * bits


def _stage(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, kernel, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    ]


def _after_pooling(side: int) -> int:
    for kernel in (3, 2, 2):
        side = (side - kernel + 1) // 2
    return side
