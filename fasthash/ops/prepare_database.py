# SPDX-License-Identifier: Apache-2.0
"""prepare_database: packed codes in the layout that searches read."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.packed_database import PackedDatabase, lanes_of, shape_of

_OP = "prepare_database"


def prepare_database(rows: Tensor) -> PackedDatabase:
    """Copies packed codes into the layout that searches read without rearranging them.

    Every operator that takes a database takes rows or a `PackedDatabase`, with the same results. It pays for a database
    that is searched more than once with few queries each time. It holds `W` rounded up to 4 or to a multiple of 8 bytes
    for each code, of `N` rounded up to a multiple of 64.

    Args:
        rows: (N, W) uint8 packed codes, any strides and device; N may be 0.

    Returns:
        `PackedDatabase` on the same device, with memory of its own; `.rows()` gives the codes back.

    Raises:
        ValueError: not uint8, or not a matrix with W > 0.

    Example:
        >>> database = fasthash.prepare_database(fasthash.pack_codes(logits))
        >>> distances, ids = fasthash.hamming_topk(queries, database, k=10)
    """
    _checks.require_packed(_OP, "rows", rows)
    count, width = rows.shape
    words = torch.zeros(shape_of(count, width), dtype=torch.int64, device=rows.device)
    groups = lanes_of(words, width)  # (G, lanes, words, bytes)
    lanes, whole = groups.shape[1], count // groups.shape[1]
    _fill(groups[:whole], rows[: whole * lanes].unflatten(0, (whole, lanes)))
    if count > whole * lanes:
        _fill(groups[whole, : count - whole * lanes], rows[whole * lanes :])
    return PackedDatabase(words, count, width)


def _fill(place: Tensor, codes: Tensor) -> None:
    """Copies codes (..., W) to their place (..., words, bytes)."""
    size, width = place.shape[-1], codes.shape[-1]
    whole, rest = width // size, width % size
    if whole:
        place[..., :whole, :] = codes[..., : whole * size].unflatten(-1, (whole, size))
    if rest:
        place[..., whole, :rest] = codes[..., whole * size :]
