# SPDX-License-Identifier: Apache-2.0
"""Search over packed binary codes."""

from fasthash.index.hamming_index import HammingIndex

__all__ = ["HammingIndex"]
