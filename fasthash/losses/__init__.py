# SPDX-License-Identifier: Apache-2.0
"""Losses for hash codes, called like those of pytorch-metric-learning: `loss(embeddings, labels)`."""

from fasthash.losses.asymmetric_hash import AsymmetricHashLoss
from fasthash.losses.attention_diversity import (
    AttentionDiversityLoss,
    FeatureAlignmentLoss,
    class_anchors,
    hellinger_distance,
)
from fasthash.losses.binary import BinaryLoss
from fasthash.losses.code_bank import CodeBank, CrossBatchLoss
from fasthash.losses.csq import CSQLoss
from fasthash.losses.dch import DCHLoss
from fasthash.losses.dcwh import DCWHLoss
from fasthash.losses.ddh import DDHLoss
from fasthash.losses.discrete_codes import DiscreteCodes
from fasthash.losses.dpsh import DHNLoss, DPSHLoss, IDHNLoss
from fasthash.losses.dsh import DSHLoss
from fasthash.losses.error_aware_quantization import ErrorAwareQuantizationLoss
from fasthash.losses.greedy_hash import GreedyHashLoss
from fasthash.losses.hard_negative_miner import HardNegativeMiner
from fasthash.losses.hash_centers import hadamard_centers, hadamard_matrix, hash_codebook
from fasthash.losses.hashnet import CohesionLoss, HashNetLoss
from fasthash.losses.order_aware_triplet import OrderAwareTripletLoss
from fasthash.losses.ortho_hash import OrthoHashLoss
from fasthash.losses.regularizers import (
    BitBalanceLoss,
    BitDecorrelationLoss,
    FakeImageEntropyLoss,
    bit_balance,
    bit_decorrelation,
    fake_image_entropy,
)
from fasthash.losses.relation import relation_from_indices, relation_from_labels, relation_from_similarity
from fasthash.losses.softmax import CosFaceLoss, SoftmaxHashLoss
from fasthash.losses.tie_aware_ranking import TieAwareRankingLoss
from fasthash.losses.triplet_margin import TripletHardLoss, TripletMarginLoss, TripletSemiHardLoss
from fasthash.losses.von_mises_fisher import VonMisesFisherLoss

__all__ = [
    "AsymmetricHashLoss",
    "AttentionDiversityLoss",
    "BinaryLoss",
    "BitBalanceLoss",
    "BitDecorrelationLoss",
    "CSQLoss",
    "CodeBank",
    "CohesionLoss",
    "CosFaceLoss",
    "CrossBatchLoss",
    "DCHLoss",
    "DCWHLoss",
    "DDHLoss",
    "DHNLoss",
    "DPSHLoss",
    "DSHLoss",
    "DiscreteCodes",
    "ErrorAwareQuantizationLoss",
    "FakeImageEntropyLoss",
    "FeatureAlignmentLoss",
    "GreedyHashLoss",
    "HardNegativeMiner",
    "HashNetLoss",
    "IDHNLoss",
    "OrderAwareTripletLoss",
    "OrthoHashLoss",
    "SoftmaxHashLoss",
    "TieAwareRankingLoss",
    "TripletHardLoss",
    "TripletMarginLoss",
    "TripletSemiHardLoss",
    "VonMisesFisherLoss",
    "bit_balance",
    "bit_decorrelation",
    "class_anchors",
    "fake_image_entropy",
    "hadamard_centers",
    "hadamard_matrix",
    "hash_codebook",
    "hellinger_distance",
    "relation_from_indices",
    "relation_from_labels",
    "relation_from_similarity",
]
