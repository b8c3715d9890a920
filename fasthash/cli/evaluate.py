# SPDX-License-Identifier: Apache-2.0
"""``fasthash evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fasthash.cli.console import console, print_table
from fasthash.cli.encode import encode_with_bar, read_images
from fasthash.data import CodeSet, DataError
from fasthash.files import atomic_write
from fasthash.training import TrainedRun, load_run, resolve_device
from fasthash.training.evaluation import Scores, measure


def evaluate(
    run: Annotated[Path, typer.Option(help="Folder of a run of fasthash train.")],
    data: Annotated[str | None, typer.Option(help="Other folder with train and test in it.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file; RUN/evaluation.json.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Measure how well the test images find training images of their class.

    Shows mAP (tie-aware), precision@10, precision within Hamming radius 2, and precision at several recalls.

    **Example:** `fasthash evaluate --run runs/photos`
    """
    trained = load_run(run, resolve_device(device))
    database, queries = (_encode(trained, data, split) for split in ("train", "test"))
    if database.classes != queries.classes:
        raise DataError(f"{database.root} and {queries.root}: expected the same classes, got different ones")
    scores = measure(queries.codes, database.codes, queries.labels, database.labels)
    title = (
        f"{len(queries.names)} queries, {len(database.names)} images in the database, {trained.config.bits} bits, "
        f"step {trained.step} of {trained.steps}"
    )
    print_table(title, _table(scores))
    path = out or run / "evaluation.json"
    facts = {"bits": trained.config.bits, "database": len(database.names), "queries": len(queries.names)}
    with atomic_write(path) as file:
        file.write(json.dumps(facts | {"step": trained.step} | scores.as_dict(), indent=2).encode())
    console.print(f"All numbers: {path}", highlight=False, soft_wrap=True)


def _encode(trained: TrainedRun, data: str | None, split: str) -> CodeSet:
    images, root = read_images(trained, data, split)
    return encode_with_bar(trained, images, root)


def _table(scores: Scores) -> Table:
    table = Table()
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_row("mAP", f"{scores.mean_average_precision:.4f}", style="bold")
    table.add_row("precision@10", f"{scores.precision_at_10:.4f}")
    table.add_row("precision within radius 2", f"{scores.precision_within_radius_2:.4f}", end_section=True)
    for recall in (0.1, 0.25, 0.5, 0.75, 0.9):
        precision = scores.precision_at_recall(recall)
        table.add_row(f"precision at recall {recall:g}", "none" if precision is None else f"{precision:.4f}")
    return table
