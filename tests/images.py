# SPDX-License-Identifier: Apache-2.0
"""Small folders of images to test with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("bars", "dots", "waves")


def write_image(path: Path, number: int, seed: int, size: int = 12, suffix: str = ".png") -> Path:
    """An image whose pattern follows from its class ``number``, with noise."""
    random = np.random.default_rng((number, seed))
    rows, columns = np.mgrid[0:size, 0:size]
    pattern = ((rows // 2) % 2, (rows * columns) % 3 == 0, (rows + columns) % 4 < 2)[number % 3]
    pixels = np.clip(200 * pattern[..., None] + random.normal(25, 15, (size, size, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.with_suffix(suffix)
    Image.fromarray(pixels).save(target)
    return target


def write_folder(root: Path, train: int = 12, test: int = 4, size: int = 12, suffix: str = ".png") -> Path:
    """``root/{train,test}/<class>/*`` with so many images for each of three classes."""
    for number, name in enumerate(CLASSES):
        for split, count, first in (("train", train, 0), ("test", test, 1000)):
            for each in range(count):
                write_image(root / split / name / f"{each:03d}", number, first + each, size, suffix)
    return root
