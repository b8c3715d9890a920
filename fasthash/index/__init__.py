# SPDX-License-Identifier: Apache-2.0
"""Search over packed binary codes."""

from fasthash.index.hamming_index import HammingIndex
from fasthash.index.merge import merge_range, merge_topk

__all__ = ["HammingIndex", "merge_range", "merge_topk"]
