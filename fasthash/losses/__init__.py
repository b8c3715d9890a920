# SPDX-License-Identifier: Apache-2.0
"""Losses for hash codes, called like those of pytorch-metric-learning: `loss(embeddings, labels)`."""

from fasthash.losses.asymmetric_hash import AsymmetricHashLoss
from fasthash.losses.attention_diversity import (
    AttentionDiversityLoss,
    FeatureAlignmentLoss,
    class_anchors,
    hellinger_distance,
)
from fasthash.losses.discrete_codes import DiscreteCodes
from fasthash.losses.order_aware_triplet import OrderAwareTripletLoss
from fasthash.losses.relation import relation_from_indices, relation_from_labels, relation_from_similarity

__all__ = [
    "AsymmetricHashLoss",
    "AttentionDiversityLoss",
    "DiscreteCodes",
    "FeatureAlignmentLoss",
    "OrderAwareTripletLoss",
    "class_anchors",
    "hellinger_distance",
    "relation_from_indices",
    "relation_from_labels",
    "relation_from_similarity",
]
