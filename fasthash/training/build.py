# SPDX-License-Identifier: Apache-2.0
"""The parts of a run, made from its configuration."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from fasthash.data import ImageFolder, ImageSplits, digits
from fasthash.data.folder import Progress
from fasthash.models import HashModel, build_model
from fasthash.training import losses
from fasthash.training.config import SKLEARN_DIGITS, ConfigError, TrainConfig


def resolve_device(name: str) -> torch.device:
    """The device for "cpu", "cuda" or "auto" (CUDA where there is one).

    Raises:
        ConfigError: "cuda" where torch sees no GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no GPU"
        raise ConfigError(f"device must be available, got cuda although {why}; use cpu or auto")
    return torch.device(name)


def image_folder(config: TrainConfig, root: str | Path, progress: Progress | None = None) -> ImageFolder:
    """A reader that treats images the way ``config`` says."""
    return ImageFolder(
        root,
        size=None if config.image_size is None else (config.image_size, config.image_size),
        channels=1 if config.grayscale else 3,
        on_broken=config.on_broken,
        cache_mb=config.cache_mb,
        progress=progress,
    )


def read_data(config: TrainConfig, progress: Progress | None = None) -> ImageSplits:
    """The images that ``config.data`` names.

    Raises:
        ConfigError: no data is named.
        fasthash.data.DataError: the folder is not what `fasthash.data.ImageFolder` expects.
    """
    if not config.data:
        raise ConfigError("data must name a folder with train and test in it, got nothing")
    if config.data == SKLEARN_DIGITS:
        return digits(config.seed)
    return image_folder(config, config.data, progress).read()


def network_facts(config: TrainConfig, shape: tuple[int, int, int]) -> dict[str, Any]:
    """The arguments of `fasthash.models.build_model` for images of ``shape`` (C, H, W), as JSON can hold them."""
    facts: dict[str, Any] = {
        "name": config.model,
        "bits": config.bits,
        "in_channels": shape[0],
        "image_size": list(shape[1:]),
        "width": config.width,
        "batch_norm": config.batch_norm,
        "sharpness": config.sharpness,
        "penalty": config.penalty,
        "amplifier": config.amplifier,
        "inverse": config.inverse,
        "threshold": config.threshold,
    }
    if config.amplification is not None:
        facts["amplification"] = config.amplification
    return facts


def make_network(facts: dict[str, Any]) -> HashModel:
    """The network that `network_facts` describe, with fresh weights."""
    return build_model(**facts)


def make_loss(config: TrainConfig, classes: int) -> nn.Module:
    """The configuration's loss, for images of so many classes.

    Raises:
        ConfigError: the loss refuses an option.
    """
    try:
        return losses.make_loss(config.loss, config.options_of_loss(), classes, config.bits, config.backend)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"loss {config.loss}: {error}") from error


def trained_parameters(model: nn.Module, loss: nn.Module) -> dict[str, nn.Parameter]:
    """What the optimizer changes: the network's parameters by their names, and those of the loss as `loss.<name>`."""
    return {
        **dict(model.named_parameters()),
        **{f"loss.{name}": parameter for name, parameter in loss.named_parameters()},
    }


def make_optimizer(config: TrainConfig, parameters: Collection[nn.Parameter]) -> Optimizer:
    """AdamW or SGD with Nesterov momentum; weights of two and more dimensions decay, biases and norms do not."""
    groups = [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0)
    return AdamW(groups, lr=config.learning_rate)
