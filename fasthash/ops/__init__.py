# SPDX-License-Identifier: Apache-2.0
"""Operators over torch tensors, on CPU and CUDA, with autograd: one file each.

Every operator has a twin of the same name and signature in `fasthash.reference`, in pure PyTorch: its definition.
"""

from fasthash.ops.class_softmax import class_softmax
from fasthash.ops.discrete_code_update import discrete_code_update
from fasthash.ops.hamming_distance import hamming_distance
from fasthash.ops.hamming_histogram import hamming_histogram
from fasthash.ops.hamming_range import hamming_range
from fasthash.ops.hamming_topk import hamming_topk
from fasthash.ops.label_sums import label_sums
from fasthash.ops.order_aware_triplet import order_aware_triplet
from fasthash.ops.pack_codes import pack_codes
from fasthash.ops.pairwise_similarity_loss import pairwise_similarity_loss
from fasthash.ops.prepare_database import prepare_database
from fasthash.ops.tanh_quantize import tanh_quantize
from fasthash.ops.triplet_margin import triplet_margin
from fasthash.ops.unpack_codes import unpack_codes

__all__ = [
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
