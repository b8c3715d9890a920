# SPDX-License-Identifier: Apache-2.0
"""From a trained run to codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fasthash.data import LabelledImages, digits
from fasthash.data.folder import Progress
from fasthash.errors import FileFormatError
from fasthash.models import HashModel
from fasthash.training.build import image_folder, make_network
from fasthash.training.checkpoint import load_checkpoint, restore_module
from fasthash.training.config import SKLEARN_DIGITS, ConfigError, TrainConfig
from fasthash.training.trainer import CHECKPOINT_NAME


@dataclass
class TrainedRun:
    """What a run folder has to offer once something was trained in it.

    Attributes:
        model: The network in evaluation mode.
        config: The settings it was trained with.
        classes: Names of the classes.
        step: Steps taken.
        steps: Steps of the whole run.
        image_size: ``(H, W)`` of the images it was trained on.
    """

    model: HashModel
    config: TrainConfig
    classes: list[str]
    step: int
    steps: int
    image_size: tuple[int, int]


def load_run(run: Path, device: str | torch.device = "cpu") -> TrainedRun:
    """Reads the network of a run folder.

    Raises:
        FileNotFoundError: no checkpoint in it.
        fasthash.errors.FileFormatError: the checkpoint is truncated or foreign.
    """
    path = run / CHECKPOINT_NAME
    stored = load_checkpoint(path)
    try:
        facts = stored.facts
        model = make_network(facts["network"])
        restore_module(model, "model", stored, path)
        config = TrainConfig.from_mapping(facts["config"], str(path))
        height, width = facts["image_size"]
        return TrainedRun(
            model.to(device).eval(), config, facts["classes"], facts["step"], facts["steps"], (height, width)
        )
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"{path}: expected a fasthash checkpoint, got one without {error}") from error


def read_for_run(
    run: TrainedRun, data: str | None, split: str | None, progress: Progress | None = None
) -> tuple[LabelledImages, str]:
    """Images prepared the way the run's network was trained on them, and the folder that their names start from.

    Args:
        run: A trained run.
        data: Folder to read instead of the run's own.
        split: "train" or "test" for the class folders below; None for all images below ``data``, without labels.
        progress: Called now and then as ``progress(done, total)``.

    Raises:
        ConfigError: neither a split nor a folder.
        fasthash.data.DataError: the folder is not what was expected.
    """
    root = data or run.config.data
    if root == SKLEARN_DIGITS:
        sides = digits(run.config.seed)
        return (sides.test if split == "test" else sides.train), SKLEARN_DIGITS
    folder = replace(image_folder(run.config, root, progress), size=run.image_size)
    if split is not None:
        return folder.read_split(split), str(Path(root, split))
    if data is None:
        raise ConfigError("split must be train or test where no other data is given, got none")
    return folder.read_below(data), data


def encode_images(
    model: HashModel,
    images: LabelledImages,
    batch_size: int = 256,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The packed codes of all images, (N, ceil(K / 8)) uint8 on the CPU.

    Args:
        model: The network; it is put into evaluation mode, and left in the mode it was in.
        images: Images with the network's number of channels.
        batch_size: Images at a time.
        on_batch: Called after each batch with the number of images encoded, and of all.

    Raises:
        ValueError: the channels do not fit, or the network gives logits that are not finite.
    """
    device = model.pixels.mean.device
    was_training = model.training
    model.eval()
    packed: list[Tensor] = []
    try:
        for start in range(0, len(images), batch_size):
            batch, _ = images.__getitems__(range(start, min(start + batch_size, len(images))))
            packed.append(model.encode(batch.to(device)).cpu())
            if on_batch is not None:
                on_batch(start + len(batch), len(images))
    finally:
        model.train(was_training)
    return torch.cat(packed)
