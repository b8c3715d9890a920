# SPDX-License-Identifier: Apache-2.0
"""Losses for hash codes, called like those of pytorch-metric-learning: `loss(embeddings, labels)`."""

from fasthash.losses.csq import CSQLoss
from fasthash.losses.dcwh import DCWHLoss
from fasthash.losses.ddh import DDHLoss
from fasthash.losses.greedy_hash import GreedyHashLoss
from fasthash.losses.hash_centers import hadamard_centers, hadamard_matrix, hash_codebook
from fasthash.losses.order_aware_triplet import OrderAwareTripletLoss
from fasthash.losses.ortho_hash import OrthoHashLoss
from fasthash.losses.relation import relation_from_indices, relation_from_labels, relation_from_similarity
from fasthash.losses.softmax import CosFaceLoss, SoftmaxHashLoss
from fasthash.losses.von_mises_fisher import VonMisesFisherLoss

__all__ = [
    "CSQLoss",
    "CosFaceLoss",
    "DCWHLoss",
    "DDHLoss",
    "GreedyHashLoss",
    "OrderAwareTripletLoss",
    "OrthoHashLoss",
    "SoftmaxHashLoss",
    "VonMisesFisherLoss",
    "hadamard_centers",
    "hadamard_matrix",
    "hash_codebook",
    "relation_from_indices",
    "relation_from_labels",
    "relation_from_similarity",
]
