# SPDX-License-Identifier: Apache-2.0
"""Layers that end in hash codes."""

from fasthash.nn.dead_bits import dead_bits
from fasthash.nn.hash_layer import HashLayer
from fasthash.types import HashOutput

__all__ = ["HashLayer", "HashOutput", "dead_bits"]
