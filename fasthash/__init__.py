# SPDX-License-Identifier: Apache-2.0
"""fasthash: train, pack, search and measure binary hash codes in PyTorch.

`fasthash.ops` holds the kernels (also at the top level), `fasthash.reference` their definitions in pure PyTorch.
"""

from fasthash._build_info import build_info
from fasthash._version import __version__
from fasthash.ops import tanh_quantize

__all__ = ["__version__", "build_info", "tanh_quantize"]
