# SPDX-License-Identifier: Apache-2.0
"""Losses for hash codes, called like those of pytorch-metric-learning: `loss(embeddings, labels)`."""

from fasthash.losses.order_aware_triplet import OrderAwareTripletLoss
from fasthash.losses.relation import relation_from_indices, relation_from_labels, relation_from_similarity

__all__ = [
    "OrderAwareTripletLoss",
    "relation_from_indices",
    "relation_from_labels",
    "relation_from_similarity",
]
