# SPDX-License-Identifier: Apache-2.0
"""One image file to one tensor, with Pillow."""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fasthash.data.errors import DataError

UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


@cache
def image_suffixes() -> frozenset[str]:
    """The file name endings, in small letters with the dot, that Pillow can read here."""
    Image.init()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image; hidden files never are."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in image_suffixes()


def decode_image(path: str | Path, channels: int, size: tuple[int, int] | None = None) -> Tensor:
    """The image in a file.

    Args:
        path: A JPEG, PNG or any other file Pillow reads. A photograph's orientation tag is obeyed.
        channels: 3 for RGB, 1 for grey.
        size: ``(H, W)`` to resize to (bilinear with antialiasing, proportions are not kept), or None to leave it.

    Returns:
        (C, H, W) uint8.

    Raises:
        DataError: the file cannot be decoded; the text names it and says why.
    """
    try:
        with Image.open(path) as opened:
            image = _to_channels(ImageOps.exif_transpose(opened), channels)
            if size is not None and image.size != (size[1], size[0]):
                image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
    except UNDECODABLE as error:
        raise DataError(f"{path}: expected an image that Pillow can decode, got {_reason(error, path)}") from error
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1).copy())


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    """The image as RGB or grey with 8 bits per channel; 16-bit grey keeps its upper byte, transparency is dropped."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def _reason(error: BaseException, path: str | Path) -> str:
    """What Pillow had to say, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if os.path.getsize(path) == 0:
        return "an empty file"
    if isinstance(error, UnidentifiedImageError):
        return "something that is no image"
    return f"a damaged one ({str(error) or type(error).__name__})".replace("\n", " ")
