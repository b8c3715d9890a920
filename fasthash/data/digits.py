# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels that come with the library."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from fasthash.data.images import ImageSplits, LabelledImages


def digits(seed: int = 0, queries_per_class: int = 30) -> ImageSplits:
    """The digits, split into images to train on and search in, and held-out queries.

    Every class gives ``queries_per_class`` images, drawn by ``seed``, to ``test``; all others form ``train``. No query
    is ever trained on or searched in.

    Args:
        seed: Chooses the queries.
        queries_per_class: Held-out images per digit, at least 1 and fewer than the 174 of the rarest digit.

    Returns:
        Two sets of (1, 8, 8) uint8 images; the library's grey levels 0..16 become 0..255.

    Raises:
        ValueError: ``queries_per_class`` leaves nothing to train on, or nothing to ask.
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    labels = torch.from_numpy(np.asarray(loaded.target, dtype=np.int64))
    fewest = int(labels.bincount().min())
    if not 1 <= queries_per_class < fewest:
        raise ValueError(f"digits: queries_per_class must be between 1 and {fewest - 1}, got {queries_per_class}")
    pixels = torch.from_numpy(np.rint(loaded.images * (255 / 16)).astype(np.uint8))[:, None]
    names = [f"digit-{number:04d}" for number in range(len(labels))]
    content = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
    classes = [str(digit) for digit in range(10)]
    everything = LabelledImages(labels, classes, names, (1, 8, 8), pixels, content=content)
    held_out = stratified_draw(labels, queries_per_class, seed)
    return ImageSplits(everything.subset((~held_out).nonzero()[:, 0]), everything.subset(held_out.nonzero()[:, 0]))


def stratified_draw(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """A mask (N,) bool with ``per_class`` members of every class in ``labels`` (N,), drawn by ``seed``."""
    random = np.random.default_rng(seed)
    drawn = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero()[:, 0].numpy()
        drawn[torch.from_numpy(random.permutation(members)[:per_class])] = True
    return drawn
