# SPDX-License-Identifier: Apache-2.0
"""Networks by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from fasthash.models.base import HashModel
from fasthash.models.conv import conv_small
from fasthash.models.ddh import ddh
from fasthash.models.resnet import resnet
from fasthash.nn import HashLayer

Backbone = Callable[[int, tuple[int, int], int, int], tuple[nn.Module, int]]

_BACKBONES: dict[str, tuple[Backbone, int]] = {
    "conv_small": (lambda channels, size, width, bits: conv_small(channels, size, width), 32),
    "resnet_small": (lambda channels, size, width, bits: resnet(channels, size, width, (1, 1, 1)), 32),
    "resnet18": (lambda channels, size, width, bits: resnet(channels, size, width, (2, 2, 2, 2)), 64),
    "ddh": (ddh, 20),
}
_HASH_OPTIONS: dict[str, dict[str, Any]] = {"ddh": {"divide": True, "batch_norm": True}}


def model_names() -> list[str]:
    """The names that `build_model` knows."""
    return list(_BACKBONES)


def build_model(
    name: str,
    bits: int,
    *,
    in_channels: int = 3,
    image_size: int | Sequence[int] = 32,
    width: int | None = None,
    **hash_options: Any,
) -> HashModel:
    """A hashing network with fresh weights from torch's random generator.

    Args:
        name: "conv_small" (a few convolutions, for small images), "resnet_small" (three residual blocks), "resnet18" or
            "ddh" (for faces of 32 x 32: its bits see four features of their own each, normalised over the batch).
        bits: Code length K.
        in_channels: 3 for RGB, 1 for grey.
        image_size: Side of the images in pixels, or (height, width); decides the depth of "conv_small" and the stem of
            the residual networks. "conv_small" below 16 pixels and "ddh" take images of this size only.
        width: Channels of the first stage; None for the network's own (32, 32, 64, 20).
        **hash_options: Passed on to `fasthash.nn.HashLayer`, such as ``penalty`` or ``amplification``.

    Raises:
        ValueError: unknown ``name``, a size below 1, or for "ddh" images below 24 pixels.
    """
    if name not in _BACKBONES:
        near = difflib.get_close_matches(name, _BACKBONES, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'build_model: name must be one of {", ".join(_BACKBONES)}, got "{name}"{hint}')
    height, wide = (image_size, image_size) if isinstance(image_size, int) else image_size
    sizes = {"bits": bits, "in_channels": in_channels, "image_size": min(height, wide), "width": width}
    for argument, value in sizes.items():
        if value is not None and value < 1:
            raise ValueError(f"build_model: {argument} must be at least 1, got {value}")
    builder, own_width = _BACKBONES[name]
    backbone, features = builder(in_channels, (height, wide), own_width if width is None else width, bits)
    options = {**_HASH_OPTIONS.get(name, {}), **hash_options}
    return HashModel(backbone, HashLayer(features, bits, **options), in_channels)
