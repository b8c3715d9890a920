# SPDX-License-Identifier: Apache-2.0
"""Random flips and shifts of a batch, the same for the same (seed, epoch, step)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Mirrors images left to right, and shifts them inside a border of zeros (pad, then crop at random).

    Attributes:
        flip: Mirror each image with probability 1/2. Wrong where left and right matter, as in digits and letters.
        pad: Pixels added on every side before cropping back to the size: shifts by up to ``pad`` each way. 0 is off.
        seed: With the epoch and step, decides every draw, whatever was drawn before and on any device.
    """

    flip: bool = False
    pad: int = 0
    seed: int = 0

    def __call__(self, images: Tensor, epoch: int, step: int) -> Tensor:
        """The changed copy of ``images`` (B, C, H, W), any dtype, on the same device."""
        random = np.random.default_rng((self.seed, epoch, step))
        count = len(images)
        mirrored = torch.from_numpy(random.random(count) < 0.5)
        shifts = torch.from_numpy(random.integers(-self.pad, self.pad + 1, size=(2, count)))
        if self.pad:
            images = _shift(images, shifts.to(images.device))
        if self.flip:
            images = torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)
        return images


def _shift(images: Tensor, shifts: Tensor) -> Tensor:
    """Image b moved up by ``shifts[0, b]`` and left by ``shifts[1, b]``; what enters is zero. (B, C, H, W), (2, B)."""
    count, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) + shifts[0, :, None]  # (B, H)
    columns = torch.arange(width, device=images.device) + shifts[1, :, None]  # (B, W)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = flat.view(count, 1, height * width).expand(-1, channels, -1)
    moved = images.flatten(2).gather(2, index).view(images.shape)
    return moved * inside[:, None].to(images.dtype)
