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
        pairs: it compares embeddings with one another, or with `ref_emb`; else with classes.
        needs_items: it takes nothing but an anchor batch against `ref_emb`.
        loose: its gradients may differ in the last bits between numbers of threads.
    """

    make: Callable[..., nn.Module]
    codes: bool = True
    pairs: bool = True
    needs_items: bool = False
    loose: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> nn.Module:
        torch.manual_seed(0)
        return self.make(**self.options, **options)


def _of_classes(make: Callable[..., nn.Module], codes: bool, **options: Any) -> Entry:
    sizes = {"num_classes": CLASSES, "embedding_size": BITS}
    return Entry(make, codes=codes, pairs=False, loose=True, options={**sizes, **options})


LOSSES = {
    "AsymmetricHashLoss": Entry(losses.AsymmetricHashLoss, needs_items=True, loose=True),
    "CSQLoss": _of_classes(losses.CSQLoss, codes=True),
    "CohesionLoss": Entry(losses.CohesionLoss, options={"cohesion": 2.0}),
    "CosFaceLoss": _of_classes(losses.CosFaceLoss, codes=False),
    "DCHLoss": Entry(losses.DCHLoss),
    "DCWHLoss": _of_classes(losses.DCWHLoss, codes=False),
    "DDHLoss": _of_classes(losses.DDHLoss, codes=True),
    "DHNLoss": Entry(losses.DHNLoss),
    "DPSHLoss": Entry(losses.DPSHLoss, codes=False),
    "DSHLoss": Entry(losses.DSHLoss, codes=False),
    "ErrorAwareQuantizationLoss": Entry(losses.ErrorAwareQuantizationLoss, loose=True),
    "GreedyHashLoss": _of_classes(losses.GreedyHashLoss, codes=False),
    "HashNetLoss": Entry(losses.HashNetLoss),
    "IDHNLoss": Entry(losses.IDHNLoss),
    "OrderAwareTripletLoss": Entry(losses.OrderAwareTripletLoss, loose=True),
    "OrthoHashLoss": _of_classes(losses.OrthoHashLoss, codes=False),
    "SoftmaxHashLoss": _of_classes(losses.SoftmaxHashLoss, codes=False),
    "TieAwareRankingLoss": Entry(losses.TieAwareRankingLoss, loose=True),
    "TripletHardLoss": Entry(losses.TripletHardLoss, loose=True),
    "TripletMarginLoss": Entry(losses.TripletMarginLoss, loose=True),
    "TripletSemiHardLoss": Entry(losses.TripletSemiHardLoss, loose=True),
    "VonMisesFisherLoss": _of_classes(losses.VonMisesFisherLoss, codes=False),
}
# Called in another way: wrappers, banks and miners, terms that need no labels, losses of features.
OTHERS = {
    "AttentionDiversityLoss",
    "BinaryLoss",
    "BitBalanceLoss",
    "BitDecorrelationLoss",
    "CodeBank",
    "CrossBatchLoss",
    "DiscreteCodes",
    "FakeImageEntropyLoss",
    "FeatureAlignmentLoss",
    "HardNegativeMiner",
}


def batch(entry: Entry, rows: int = 24, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Embeddings that want a gradient, and class ids."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(rows, BITS, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (rows,), generator=generator)
    return (embeddings.tanh() if entry.codes else embeddings).to(dtype).requires_grad_(), labels


def call(entry: Entry, loss: Any, embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss of a batch; one that needs items gets the signs of the batch as them."""
    items = (None, embeddings.detach().sign(), labels) if entry.needs_items else ()
    value: Tensor = loss(embeddings, labels, *items)
    return value


def value_and_gradient(
    entry: Entry, loss: Any, embeddings: Tensor, labels: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """And the gradients of the embeddings and of what the loss learns."""
    value = call(entry, loss, embeddings, labels)
    parameters = [p for p in loss.parameters() if p.requires_grad]
    return value.detach(), torch.autograd.grad(value, [embeddings, *parameters])
