# SPDX-License-Identifier: Apache-2.0
"""fasthash: train, pack, search and measure binary hash codes in PyTorch.

`fasthash.ops` holds the kernels (also at the top level), `fasthash.reference` their definitions in pure PyTorch.
Layers, losses, models, search and metrics are `fasthash.nn`, `.losses`, `.models`, `.index` and `.metrics`.
"""

from fasthash._build_info import build_info
from fasthash._version import __version__
from fasthash.ops import (
    class_softmax,
    discrete_code_update,
    hamming_distance,
    hamming_histogram,
    hamming_range,
    hamming_topk,
    label_sums,
    order_aware_triplet,
    pack_codes,
    pairwise_similarity_loss,
    prepare_database,
    tanh_quantize,
    triplet_margin,
    unpack_codes,
)

__all__ = [
    "__version__",
    "build_info",
    "class_softmax",
    "discrete_code_update",
    "hamming_distance",
    "hamming_histogram",
    "hamming_range",
    "hamming_topk",
    "label_sums",
    "order_aware_triplet",
    "pack_codes",
    "pairwise_similarity_loss",
    "prepare_database",
    "tanh_quantize",
    "triplet_margin",
    "unpack_codes",
]
