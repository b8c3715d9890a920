# SPDX-License-Identifier: Apache-2.0
"""Every loss that is called like those of pytorch-metric-learning, with what it can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fasthash import losses

CLASSES, BITS = 4, 16


@dataclass(frozen=True)
class Entry:
    """How a loss is made, and what it takes.

    Attributes:
        make: the loss, with options.
        codes: it takes relaxed codes in [-1, 1], else logits.
        against: what embeddings are compared with: `items`, one another or `ref_emb`; `constants`, items without a
            gradient, all pairs; `classes`; or `nothing`, labels are not looked at.
        split: what may differ in the last bits between numbers of threads: `gradients`, whose sums over the batch are
            PyTorch's products of matrices; `all`, PyTorch's softplus of a large batch rounds otherwise where a thread's
            part ends; or nothing.
    """

    make: Callable[..., nn.Module]
    codes: bool = True
    against: str = "items"
    split: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> nn.Module:
        torch.manual_seed(0)
        return self.make(**self.options, **options)


def _of_classes(make: Callable[..., nn.Module], codes: bool, **options: Any) -> Entry:
    sizes = {"num_classes": CLASSES, "embedding_size": BITS}
    return Entry(make, codes=codes, against="classes", split="gradients", options={**sizes, **options})


LOSSES = {
    "AsymmetricHashLoss": Entry(losses.AsymmetricHashLoss, against="constants", split="gradients"),
    "BitBalanceLoss": Entry(losses.BitBalanceLoss, against="nothing"),
    "BitDecorrelationLoss": Entry(losses.BitDecorrelationLoss, against="nothing", split="gradients"),
    "CSQLoss": _of_classes(losses.CSQLoss, codes=True),
    "CohesionLoss": Entry(losses.CohesionLoss, options={"cohesion": 2.0}),
    "CosFaceLoss": _of_classes(losses.CosFaceLoss, codes=False),
    "DCHLoss": Entry(losses.DCHLoss),
    "DCWHLoss": _of_classes(losses.DCWHLoss, codes=False),
    "DDHLoss": _of_classes(losses.DDHLoss, codes=True),
    "DHNLoss": Entry(losses.DHNLoss, split="all"),
    "DPSHLoss": Entry(losses.DPSHLoss, codes=False),
    "DSHLoss": Entry(losses.DSHLoss, codes=False),
    "ErrorAwareQuantizationLoss": Entry(losses.ErrorAwareQuantizationLoss, split="gradients"),
    "FakeImageEntropyLoss": Entry(losses.FakeImageEntropyLoss, codes=False, against="nothing", split="all"),
    "GreedyHashLoss": _of_classes(losses.GreedyHashLoss, codes=False),
    "HashNetLoss": Entry(losses.HashNetLoss),
    "IDHNLoss": Entry(losses.IDHNLoss),
    "OrderAwareTripletLoss": Entry(losses.OrderAwareTripletLoss, split="gradients"),
    "OrthoHashLoss": _of_classes(losses.OrthoHashLoss, codes=False),
    "SoftmaxHashLoss": _of_classes(losses.SoftmaxHashLoss, codes=False),
    "TieAwareRankingLoss": Entry(losses.TieAwareRankingLoss, split="gradients"),
    "TripletHardLoss": Entry(losses.TripletHardLoss, split="gradients"),
    "TripletMarginLoss": Entry(losses.TripletMarginLoss, split="gradients"),
    "TripletSemiHardLoss": Entry(losses.TripletSemiHardLoss, split="gradients"),
    "VonMisesFisherLoss": _of_classes(losses.VonMisesFisherLoss, codes=False),
}
# Wrappers, banks and miners, losses of features, functions.
OTHERS = {
    "AttentionDiversityLoss",
    "BinaryLoss",
    "CodeBank",
    "CrossBatchLoss",
    "DiscreteCodes",
    "FeatureAlignmentLoss",
    "HardNegativeMiner",
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
}


def names_against(*kinds: str) -> list[str]:
    """The losses that compare embeddings with one of these."""
    return sorted(name for name, entry in LOSSES.items() if entry.against in kinds)


def batch(entry: Entry, rows: int = 24, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Embeddings that want a gradient, and class ids."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(rows, BITS, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (rows,), generator=generator)
    return (embeddings.tanh() if entry.codes else embeddings).to(dtype).requires_grad_(), labels


def value_and_gradient(loss: Any, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loss of a batch, and the gradients of the embeddings and of what the loss learns."""
    value = loss(embeddings, labels)
    parameters = [p for p in loss.parameters() if p.requires_grad]
    return value.detach(), torch.autograd.grad(value, [embeddings, *parameters])
