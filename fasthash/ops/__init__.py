# SPDX-License-Identifier: Apache-2.0
"""Operators over torch tensors, on CPU and CUDA, with autograd: one file each.

Every operator has a twin of the same name and signature in `fasthash.reference`, in pure PyTorch: its definition.
"""

from fasthash.ops.order_aware_triplet import order_aware_triplet
from fasthash.ops.tanh_quantize import tanh_quantize

__all__ = ["order_aware_triplet", "tanh_quantize"]
