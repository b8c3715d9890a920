# SPDX-License-Identifier: Apache-2.0
"""The losses that a run can be trained with, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from fasthash import losses
from fasthash.losses._class_centers import ClassCenterLoss

LOSSES: dict[str, Callable[..., nn.Module]] = {
    "order_aware_triplet": losses.OrderAwareTripletLoss,
    "triplet_margin": losses.TripletMarginLoss,
    "triplet_semi_hard": losses.TripletSemiHardLoss,
    "triplet_hard": losses.TripletHardLoss,
    "hashnet": losses.HashNetLoss,
    "cohesion": losses.CohesionLoss,
    "dpsh": losses.DPSHLoss,
    "dhn": losses.DHNLoss,
    "idhn": losses.IDHNLoss,
    "dch": losses.DCHLoss,
    "dsh": losses.DSHLoss,
    "tie_aware_ranking": losses.TieAwareRankingLoss,
    "softmax": losses.SoftmaxHashLoss,
    "cosface": losses.CosFaceLoss,
    "ddh": losses.DDHLoss,
    "greedy_hash": losses.GreedyHashLoss,
    "csq": losses.CSQLoss,
    "ortho_hash": losses.OrthoHashLoss,
    "dcwh": losses.DCWHLoss,
    "von_mises_fisher": losses.VonMisesFisherLoss,
}

# These look at what stands before the tanh, all others at the relaxed codes.
ON_LOGITS = ("dpsh", "dsh", "greedy_hash", "ortho_hash", "dcwh", "von_mises_fisher")

# What the run decides, or what cannot be written down in a configuration.
_TAKEN = ("num_classes", "embedding_size", "backend", "gather", "accumulate", "centers", "codebook")


def loss_options(name: str) -> list[str]:
    """The options of a loss that a configuration may set."""
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    return [each.name for each in parameters if each.name not in _TAKEN and each.kind is not each.VAR_KEYWORD]


def make_loss(name: str, options: Mapping[str, Any], classes: int, bits: int, backend: str) -> nn.Module:
    """The loss of that name, for codes of so many bits and images of so many classes.

    Centres of classes are learned, or taken from the batches of each epoch at its end (`end_epoch`).

    Raises:
        ValueError: an option that the loss refuses.
    """
    facts = {"num_classes": classes, "embedding_size": bits, "backend": backend, "accumulate": True}
    accepted = inspect.signature(LOSSES[name]).parameters
    return LOSSES[name](**{key: value for key, value in facts.items() if key in accepted}, **options)


def end_epoch(loss: nn.Module) -> None:
    """What a loss does between two passes over the training images."""
    if isinstance(loss, ClassCenterLoss):
        loss.update_centers()
