# SPDX-License-Identifier: Apache-2.0
"""A training run in one file: safetensors whose metadata holds the rest as JSON.

One file, replaced in one step, so that a crash never leaves tensors of one moment beside facts of another. Nothing is
ever unpickled.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fasthash.errors import FileFormatError
from fasthash.files import atomic_write

FORMAT = "fasthash.checkpoint"
VERSION = 1


@dataclass
class Checkpoint:
    """What a file holds.

    Attributes:
        tensors: ``model/<name>`` and ``loss/<name>`` parameters and buffers, ``optimizer/<parameter>/<key>``,
            ``rng/cpu``, ``rng/cuda``.
        facts: Whatever JSON can say: position, configuration, network, classes.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix/``, without it."""
        return {
            name[len(prefix) + 1 :]: tensor for name, tensor in self.tensors.items() if name.startswith(f"{prefix}/")
        }


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes the file in place of an older one, which survives whatever goes wrong.

    Raises:
        OSError: the file cannot be written; with no space left, the text says what became of the old one.
    """
    metadata = {"format": FORMAT, "version": str(VERSION), "facts": json.dumps(checkpoint.facts)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    survives = path.exists()
    try:
        with atomic_write(path) as file:
            file.write(safetensors.torch.save(tensors, metadata))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        old = "the checkpoint written before is intact" if survives else "nothing was written"
        raise OSError(error.errno, f"no space left for the checkpoint; {old}", str(path)) from error


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Reads a file that `save_checkpoint` wrote.

    Raises:
        FileNotFoundError: there is none.
        FileFormatError: it is truncated, or not a fasthash checkpoint of a version known here.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "expected a checkpoint, got no such file", str(path))
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            facts = _facts(path, metadata)
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"{path}: expected a fasthash checkpoint, got a truncated or foreign file") from error


def _facts(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The JSON part, once the file is known to be ours."""
    if metadata.get("format") != FORMAT:
        kind = metadata.get("format", "a safetensors file of another program")
        raise FileFormatError(f"{path}: expected a fasthash checkpoint, got {kind}")
    if metadata.get("version") != str(VERSION):
        raise FileFormatError(f"{path}: expected checkpoint version {VERSION}, got {metadata.get('version')}")
    try:
        facts: dict[str, Any] = json.loads(metadata.get("facts", ""))
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path}: expected JSON in the checkpoint's metadata, got none") from error
    return facts


def module_tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Parameters and buffers as ``<prefix>/<name>``."""
    return {f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()}


def restore_module(module: nn.Module, prefix: str, checkpoint: Checkpoint, path: Path) -> None:
    """Puts the checkpoint's parameters and buffers under ``prefix`` into ``module``.

    Raises:
        FileFormatError: names or shapes are not those of the module.
    """
    try:
        module.load_state_dict(checkpoint.part(prefix))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(f"{path}: expected the tensors of this {prefix}, got others ({reason})") from error


def optimizer_tensors(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state as ``optimizer/<parameter>/<key>``; settings are not part of it."""
    found: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                found[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
    return found


def restore_optimizer(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], checkpoint: Checkpoint) -> None:
    """Puts the checkpoint's state back, each tensor on its parameter's device, step counters where they were."""
    stored = checkpoint.part("optimizer")
    for name, parameter in parameters.items():
        state = {key[len(name) + 1 :]: value for key, value in stored.items() if key.rpartition("/")[0] == name}
        if state:
            optimizer.state[parameter] = {
                key: value.cpu() if key == "step" else value.to(parameter.device) for key, value in state.items()
            }


def rng_tensors(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random generators, as ``rng/<device type>``."""
    states = {"rng/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["rng/cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_rng(checkpoint: Checkpoint, device: torch.device) -> None:
    """Sets torch's random generators back to where they were."""
    states = checkpoint.part("rng")
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
