# SPDX-License-Identifier: Apache-2.0
"""Networks that turn images into binary codes."""

from fasthash.models.base import HashModel, PixelNorm
from fasthash.models.registry import build_model, model_names

__all__ = ["HashModel", "PixelNorm", "build_model", "model_names"]
