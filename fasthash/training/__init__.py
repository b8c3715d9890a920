# SPDX-License-Identifier: Apache-2.0
"""Training hashing networks: configuration, loop, checkpoints, and codes from what was trained."""

from fasthash.training.build import read_data, resolve_device
from fasthash.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fasthash.training.config import ConfigError, TrainConfig, load_config
from fasthash.training.encoding import TrainedRun, encode_images, load_run, read_for_run
from fasthash.training.trainer import Trainer, TrainingError

__all__ = [
    "Checkpoint",
    "ConfigError",
    "TrainConfig",
    "TrainedRun",
    "Trainer",
    "TrainingError",
    "encode_images",
    "load_checkpoint",
    "load_config",
    "load_run",
    "read_data",
    "read_for_run",
    "resolve_device",
    "save_checkpoint",
]
