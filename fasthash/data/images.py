# SPDX-License-Identifier: Apache-2.0
"""Labelled images: the one shape in which training, encoding and evaluation see data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W) uint8, labels (B,) int64


@dataclass
class LabelledImages(Dataset[Batch]):
    """Images of one size with one class each, held in memory or read when asked for.

    Attributes:
        labels: Class numbers, (N,) int64.
        classes: Class names; ``labels`` index them.
        names: One name per image, unique: a path relative to the split's folder, or a made-up one.
        shape: ``(C, H, W)`` of every image.
        pixels: All images, (N, C, H, W) uint8, or None where ``read`` is used.
        read: Gives one image, (C, H, W) uint8, by its position; used where the images do not fit in memory.
        broken: Names of the files that were left out because they could not be decoded.
        content: A hash of what the images hold, or of what stands for it (the sizes of the files).
    """

    labels: Tensor
    classes: list[str]
    names: list[str]
    shape: tuple[int, int, int]
    pixels: Tensor | None = None
    read: Callable[[int], Tensor] | None = None
    broken: list[str] = field(default_factory=list)
    content: str = ""

    def __post_init__(self) -> None:
        if (self.pixels is None) == (self.read is None):
            raise ValueError("LabelledImages: exactly one of pixels and read must be given")
        lengths = [len(each) for each in (self.labels, self.names, self.pixels) if each is not None]
        if len(set(lengths)) != 1:
            raise ValueError(f"LabelledImages: labels, names and pixels must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Batch:
        """One image (C, H, W) uint8 and its label, a 0-d int64 tensor."""
        return self.image(index), self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The images (B, C, H, W) uint8 and labels (B,) at ``indices``: what a DataLoader's batch asks for."""
        wanted = torch.as_tensor(indices, dtype=torch.int64)
        if self.pixels is not None:
            return self.pixels[wanted], self.labels[wanted]
        return torch.stack([self.image(int(index)) for index in indices]), self.labels[wanted]

    def image(self, index: int) -> Tensor:
        """One image, (C, H, W) uint8."""
        if self.pixels is not None:
            return self.pixels[index]
        assert self.read is not None
        return self.read(index)

    def subset(self, indices: Tensor) -> LabelledImages:
        """The images at ``indices`` (int64), in that order, as a set of their own."""
        chosen = indices.tolist()
        pixels = None if self.pixels is None else self.pixels[indices]
        read = None if self.read is None else _Renumbered(self.read, chosen)
        names = [self.names[index] for index in chosen]
        return LabelledImages(self.labels[indices], self.classes, names, self.shape, pixels, read, content=self.content)

    def fingerprint(self) -> str:
        """A short hash of names, labels, classes, shape and ``content``: sets that train differently differ in it.

        A file on disk whose pixels change while its size stays is not noticed.
        """
        digest = hashlib.sha256(repr((self.classes, self.shape, self.names, self.content)).encode())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def channel_statistics(self, limit: int = 10_000) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of every channel in [0, 1], from at most ``limit`` evenly spaced images."""
        step = max(1, -(-len(self) // limit))
        total, squares, count = torch.zeros(self.shape[0]).double(), torch.zeros(self.shape[0]).double(), 0
        positions = range(0, len(self), step)
        for start in range(0, len(positions), 256):
            images = self.__getitems__(positions[start : start + 256])[0].double() / 255
            total += images.sum((0, 2, 3))
            squares += images.square().sum((0, 2, 3))
            count += images[:, 0].numel()
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        return mean.tolist(), deviation.clamp_min(1 / 255).tolist()


@dataclass
class _Renumbered:
    """Reads image ``order[i]`` for position ``i``; a class, so that worker processes can be handed it."""

    read: Callable[[int], Tensor]
    order: list[int]

    def __call__(self, index: int) -> Tensor:
        return self.read(self.order[index])


@dataclass
class ImageSplits:
    """The two sides of a retrieval experiment: ``train`` is trained on and searched in, ``test`` asks."""

    train: LabelledImages
    test: LabelledImages

    @property
    def classes(self) -> list[str]:
        """Class names, the same on both sides."""
        return self.train.classes
