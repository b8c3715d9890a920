# SPDX-License-Identifier: Apache-2.0
"""``fasthash encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fasthash.cli.console import console, progress_bar, report_broken
from fasthash.data import CodeSet, LabelledImages
from fasthash.index import HammingIndex
from fasthash.training import ConfigError, TrainedRun, encode_images, load_run, resolve_device
from fasthash.training.encoding import read_for_run


def encode(
    run: Annotated[Path, typer.Option(help="Folder of a run of fasthash train.")],
    split: Annotated[
        str | None, typer.Option(help="train or test; train, unless the data folder has none: then all images in it.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Folder of other images than the run's.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Codes file; RUN/codes-SPLIT.safetensors.")] = None,
    index: Annotated[Path | None, typer.Option(help="Write a Hamming index of the codes as well.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Turn images into packed binary codes, with their labels and names beside them.

    **Example:** `fasthash encode --run runs/photos --split train --index runs/photos/index.safetensors`
    """
    trained = load_run(run, resolve_device(device))
    if split is None and (data is None or Path(data, "train").is_dir()):
        split = "train"
    images, root = read_images(trained, data, split)
    codes = encode_with_bar(trained, images, root)
    path = out or run / f"codes-{split or 'images'}.safetensors"
    codes.save(path)
    console.print(f"{len(codes.names)} codes of {codes.bits} bits in {path}", highlight=False, soft_wrap=True)
    if index is not None:
        built = HammingIndex(codes.bits)
        built.add(codes.codes)
        built.save(index)
        console.print(f"index of {len(built)} codes in {index}", highlight=False, soft_wrap=True)


def read_images(trained: TrainedRun, data: str | None, split: str | None) -> tuple[LabelledImages, str]:
    """The images to encode, and the folder their names start from; broken ones are named and left out."""
    if split not in (None, "train", "test"):
        raise ConfigError(f"--split must be train or test, got {split}")
    with progress_bar("Reading images") as move:
        images, root = read_for_run(trained, data, split, move)
    report_broken(images.broken, root)
    return images, root


def encode_with_bar(trained: TrainedRun, images: LabelledImages, root: str) -> CodeSet:
    """The codes of ``images``, with a progress bar."""
    with progress_bar("Encoding") as move:
        codes = encode_images(trained.model, images, on_batch=move)
    return CodeSet(codes, trained.config.bits, images.labels, images.classes, images.names, root)
