# SPDX-License-Identifier: Apache-2.0
"""fasthash: train, pack, search and measure binary hash codes in PyTorch."""
