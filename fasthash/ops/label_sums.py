# SPDX-License-Identifier: Apache-2.0
"""label_sums: sums of values over the items that share a label with each query."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash._labels import as_ids
from fasthash.ops import _registration
from fasthash.types import LabelSums

_OP = "label_sums"


def label_sums(values: Tensor, labels: Tensor, query_labels: Tensor) -> LabelSums:
    """Sum and number of the items that share a label with each query: a product with a matrix that is never there.

        sums[a]   = sum of values[m] over the items m that are related to query a
        counts[a] = how many they are

    Args:
        values: (M, K) float32, float64, bfloat16, float16 or int8, any strides; M may be 0.
        labels: labels of the items on the same device: (M,) class ids of any integer dtype, related where they are
            equal; or (M, C) uint8 packed multi-hot rows, as `pack_codes` makes them of a bool matrix, related where
            they have a bit in common.
        query_labels: (A,) or (A, C) labels of the queries, of the same kind; A may be 0.

    Returns:
        `LabelSums`: sums (A, K) float64 and counts (A,) int64. They have no gradient.

    Raises:
        ValueError: an argument is not as described; the text names it, what was expected and what came.

    Numerics: items are added in their order, one after the other, in float64: the same bits on every machine variant,
    device and number of threads, and exact for int8.

    Cost: ids O(M K + A K) on the CPU; multi-hot labels O(A M) comparisons and K additions for each related pair.
    """
    try:
        sums, counts = torch.ops.fasthash.label_sums.default(values, as_ids(labels), as_ids(query_labels))
        return LabelSums(sums, counts)
    except _registration.MISFITS:
        _registration.refuse_kinds(label_sums, locals())
        raise


@torch.library.register_fake("fasthash::label_sums")
def _fake(values: Tensor, labels: Tensor, query_labels: Tensor) -> tuple[Tensor, Tensor]:
    asked = query_labels.shape[0]
    sums = values.new_empty((asked, values.shape[1]), dtype=torch.float64)
    return sums, values.new_empty((asked,), dtype=torch.int64)


_registration.not_differentiable(_OP)
