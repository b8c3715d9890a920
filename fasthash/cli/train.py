# SPDX-License-Identifier: Apache-2.0
"""``fasthash train``."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Annotated, Any

import typer

from fasthash.cli.console import console, progress_bar, report_broken
from fasthash.data import ImageSplits
from fasthash.training import ConfigError, TrainConfig, Trainer, load_config, read_data
from fasthash.training.config import parse_setting
from fasthash.training.log import Record
from fasthash.training.losses import LOSSES
from fasthash.training.trainer import CHECKPOINT_NAME, CONFIG_NAME


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; made if need be.")],
    data: Annotated[str | None, typer.Option(help="Folder with train/CLASS/* and test/CLASS/*.")] = None,
    bits: Annotated[int | None, typer.Option(help="Code length.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, batches and augmentation.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    model: Annotated[str | None, typer.Option(help="conv_small, resnet_small, resnet18 or ddh.")] = None,
    loss: Annotated[str | None, typer.Option(help=f"{', '.join(LOSSES)}.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side to resize images to, in pixels.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode images beyond memory.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any settings; flags win over it.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")] = False,
) -> None:
    """Train a hashing network on a folder of images.

    All settings end up in OUT/config.toml, the network in OUT/checkpoint.safetensors, the losses in OUT/log.jsonl.
    Ctrl-C finishes the step, saves, and says how to go on.

    **Example:** `fasthash train --data photos --out runs/photos --bits 64 --epochs 50`
    """
    flags = {
        "data": data,
        "bits": bits,
        "epochs": epochs,
        "seed": seed,
        "device": device,
        "model": model,
        "loss": loss,
        "image_size": image_size,
        "learning_rate": learning_rate,
        "workers": workers,
    }
    resolved = _resolve(
        out, config, {key: value for key, value in flags.items() if value is not None}, settings, resume
    )
    with progress_bar("Reading images") as move:
        splits = read_data(resolved, move)
    for split, images in (("train", splits.train), ("test", splits.test)):
        report_broken(images.broken, f"{resolved.data}/{split}")
    _fit(resolved, splits, out, resume)


def _resolve(
    out: Path, file: Path | None, flags: dict[str, Any], settings: list[str] | None, resume: bool
) -> TrainConfig:
    """Defaults, then the run's own file when resuming, then ``--config``, then ``--set`` and flags."""
    has_checkpoint = (out / CHECKPOINT_NAME).exists()
    if has_checkpoint and not resume:
        raise ConfigError(f"{out}: expected a new folder, got one with a run in it; --resume goes on with that run")
    if resume and not has_checkpoint:
        raise ConfigError(f"{out}: expected a run to resume, got no {CHECKPOINT_NAME} in it")
    resolved = TrainConfig()
    if resume:
        resolved = resolved.changed(load_config(out / CONFIG_NAME), str(out / CONFIG_NAME))
    if file is not None:
        resolved = resolved.changed(load_config(file), str(file))
    resolved = resolved.changed(dict(parse_setting(setting) for setting in settings or []), "--set")
    resolved = resolved.changed(flags, "command line")
    if resolved.data and Path(resolved.data).is_dir():
        # Absolute, so that what reads the run later may be called from anywhere.
        resolved = resolved.changed({"data": str(Path(resolved.data).resolve())})
    return resolved


def _fit(config: TrainConfig, splits: ImageSplits, out: Path, resume: bool) -> None:
    with progress_bar("Training", "steps") as move:

        def show(step: int, record: Record | None) -> None:
            if record is not None:
                notes.append(f"epoch {record['epoch'] + 1}/{config.epochs}  loss {record['loss']:.4g}")
            move(step, trainer.steps, notes[-1])

        notes = deque([""], maxlen=1)
        trainer = Trainer(config, splits.train, out, show)
        if resume:
            trainer.resume()
        console.print(
            f"{len(splits.train)} images of {len(splits.classes)} classes, {config.bits} bits, {config.model} on "
            f"{trainer.device}, step {trainer.step} of {trainer.steps}",
            highlight=False,
        )
        stopped_by = trainer.fit()
    if stopped_by is not None:
        console.print(f"Stopped after step {trainer.step} of {trainer.steps}; saved. To go on:", highlight=False)
        console.print(f"  fasthash train --out {out} --resume", highlight=False, soft_wrap=True)
        raise typer.Exit(128 + stopped_by)
    console.print(f"Trained {trainer.steps} steps. To measure what it learned:", highlight=False)
    console.print(f"  fasthash evaluate --run {out}", highlight=False, soft_wrap=True)
