# SPDX-License-Identifier: Apache-2.0
"""Pure PyTorch definitions of the ops: same names and signatures as `fasthash.ops`, for any device, no compiled code.

They are the yardstick of tests and benchmarks, and a path for `torch.func`, which registered ops do not support.
"""

from fasthash.reference.class_softmax import class_softmax
from fasthash.reference.discrete_code_update import discrete_code_update
from fasthash.reference.hamming_distance import hamming_distance
from fasthash.reference.hamming_histogram import hamming_histogram
from fasthash.reference.hamming_range import hamming_range
from fasthash.reference.hamming_topk import hamming_topk
from fasthash.reference.label_sums import label_sums
from fasthash.reference.order_aware_triplet import order_aware_triplet
from fasthash.reference.pack_codes import pack_codes
from fasthash.reference.pairwise_similarity_loss import pairwise_similarity_loss
from fasthash.reference.prepare_database import prepare_database
from fasthash.reference.tanh_quantize import tanh_quantize
from fasthash.reference.triplet_margin import triplet_margin
from fasthash.reference.unpack_codes import unpack_codes

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
