# SPDX-License-Identifier: Apache-2.0
"""``fasthash search``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from fasthash.cli.console import print_table
from fasthash.data import CodeSet, DataError
from fasthash.index import HammingIndex
from fasthash.training import encode_images, load_run, resolve_device
from fasthash.training.build import image_folder


def search(
    run: Annotated[Path, typer.Option(help="Folder of a run of fasthash train: its network encodes the queries.")],
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE", help="More query images.")] = None,
    query: Annotated[list[Path] | None, typer.Option(help="Query image; may be repeated.")] = None,
    codes: Annotated[Path | None, typer.Option(help="Codes file to search; RUN/codes-train.safetensors.")] = None,
    index: Annotated[Path | None, typer.Option(help="Index file to search; names need --codes too.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Nearest images to show.")] = 10,
    radius: Annotated[
        int | None, typer.Option(min=0, help="Show all images within so many bits, in place of the k nearest.")
    ] = None,
    allow: Annotated[
        Path | None, typer.Option(help="NumPy file (.npy) of ids: only these may be found; others are passed over.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Find the images whose codes are nearest to those of the query images.

    **Example:** `fasthash search --run runs/photos -k 5 --query cat.jpg dog.jpg`
    """
    files = [*(query or []), *(images or [])]
    if not files:
        raise DataError("--query must name at least one image, got none")
    trained = load_run(run, resolve_device(device))
    known = _known(run, codes) if codes or not index else None
    searched = _index(index, known)
    if searched.bits != trained.config.bits:
        raise DataError(f"{codes or index}: expected codes of {trained.config.bits} bits, got {searched.bits}")
    folder = replace(image_folder(trained.config, run), size=trained.image_size, on_broken="fail")
    queries = folder.read_files(files)
    encoded, allowed = encode_images(trained.model, queries), None if allow is None else _ids(allow)
    if radius is None:
        found = list(zip(*searched.search(encoded, k, allowed), strict=True))
        title = "Nearest to"
    else:
        ball = searched.range_search(encoded, radius, allowed)
        sizes = ball.offsets.diff().tolist()
        found = list(zip(torch.split(ball.distances, sizes), torch.split(ball.ids, sizes), strict=True))
        title = f"Within {radius} bits of"
    for name, (distances, ids) in zip(queries.names, found, strict=True):
        print_table(f"{title} {name}", _table(distances, ids, known))


def _known(run: Path, codes: Path | None) -> CodeSet:
    """The codes file that was named, or the one that encoding the run's training images leaves."""
    path = codes or run / "codes-train.safetensors"
    if codes is None and not path.exists():
        raise DataError(f"{path}: expected codes to search, got no such file; fasthash encode --run {run} writes it")
    return CodeSet.load(path)


def _index(path: Path | None, known: CodeSet | None) -> HammingIndex:
    """The index file, or an index of the codes; ids are positions in the codes file."""
    if path is not None:
        return HammingIndex.load(path)
    assert known is not None
    built = HammingIndex(known.bits)
    built.add(known.codes)
    return built


def _ids(path: Path) -> Tensor:
    """(n,) int64 ids from a NumPy file; nothing is unpickled."""
    try:
        ids = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: expected a NumPy file (.npy) of ids, got a truncated or foreign one") from error
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
        got = f"{ids.dtype} {ids.shape}" if isinstance(ids, np.ndarray) else "an archive"
        raise DataError(f"{path}: expected whole numbers in one dimension, got {got}")
    return torch.from_numpy(ids.astype(np.int64))


def _table(distances: Tensor, ids: Tensor, known: CodeSet | None) -> Table:
    """The nearest images of one query; padding (id -1) is left out."""
    table = Table()
    table.add_column("rank", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("id", justify="right")
    if known is not None:
        table.add_column("class")
        table.add_column("image", overflow="fold")
    for rank, (distance, number) in enumerate(zip(distances.tolist(), ids.tolist(), strict=True)):
        if number < 0:
            break
        cells = [str(rank + 1), str(distance), str(number)]
        if known is not None:
            inside = number < len(known.names)
            cells += [escape(known.class_name(number)), escape(known.names[number])] if inside else ["", "?"]
        table.add_row(*cells)
    return table
