# SPDX-License-Identifier: Apache-2.0
"""``fasthash evaluate``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fasthash import ops
from fasthash.cli.console import console, print_table
from fasthash.cli.encode import encode_with_bar, read_images
from fasthash.data import CodeSet, DataError, LabelledImages
from fasthash.files import atomic_write
from fasthash.index import HammingIndex
from fasthash.report import Method, Report, choose_examples, write_report
from fasthash.training import TrainedRun, load_run, resolve_device
from fasthash.training.evaluation import Scores, measure, queries_per_second
from fasthash.training.log import read_log
from fasthash.training.trainer import LOG_NAME


@dataclass
class _Side:
    """One side of the search."""

    images: LabelledImages
    codes: CodeSet


def evaluate(
    run: Annotated[Path, typer.Option(help="Folder of a run of fasthash train.")],
    data: Annotated[str | None, typer.Option(help="Other folder with train and test in it.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file; RUN/evaluation.json.")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write an HTML page with examples and curves.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Measure how well the test images find training images of their class.

    Shows mAP (tie-aware), precision@10, precision within Hamming radius 2, and precision at several recalls.

    **Example:** `fasthash evaluate --run runs/photos --report photos.html`
    """
    trained = load_run(run, resolve_device(device))
    database, queries = (_read_side(trained, data, split) for split in ("train", "test"))
    if database.codes.classes != queries.codes.classes:
        raise DataError(
            f"{database.codes.root} and {queries.codes.root}: expected the same classes, got different ones"
        )
    scores = measure(queries.codes.codes, database.codes.codes, queries.codes.labels, database.codes.labels)
    facts = {
        "bits": trained.config.bits,
        "database": len(database.images),
        "queries": len(queries.images),
        "step": trained.step,
        "steps": trained.steps,
    }
    print_table(", ".join(f"{name} {value}" for name, value in facts.items()), _table(scores))
    path = out or run / "evaluation.json"
    with atomic_write(path) as file:
        file.write(json.dumps(facts | scores.as_dict(), indent=2).encode())
    console.print(f"All numbers: {path}", highlight=False, soft_wrap=True)
    if report is not None:
        write_report(_report(run, trained, scores, database, queries), report)
        console.print(f"Report with pictures and curves: {report}", highlight=False, soft_wrap=True)


def _read_side(trained: TrainedRun, data: str | None, split: str) -> _Side:
    images, root = read_images(trained, data, split)
    return _Side(images, encode_with_bar(trained, images, root))


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


def _report(run: Path, trained: TrainedRun, scores: Scores, database: _Side, queries: _Side) -> Report:
    """The page on a run: the demo's, without other encoders."""
    bits = trained.config.bits
    index = HammingIndex(bits)
    index.add(database.codes.codes)
    k = min(10, len(index))
    speed = queries_per_second(queries.codes.codes[:1000], database.codes.codes, bits, k)
    return Report(
        title=f"{bits}-bit codes of {run.name}",
        summary=f"{trained.config.model}, {trained.step} of {trained.steps} steps.",
        methods=[Method("learned", scores, speed)],
        examples=choose_examples(queries.images, database.images, index.search(queries.codes.codes, k)),
        records=read_log(run / LOG_NAME) if (run / LOG_NAME).exists() else [],
        share_of_ones=ops.unpack_codes(database.codes.codes, bits).gt(0).float().mean(0),
        facts=[
            ("database", f"{len(database.images)} images in {database.codes.root}"),
            ("queries", f"{len(queries.images)} images in {queries.codes.root}"),
            ("classes", f"{len(trained.classes)}"),
            ("ties", "mAP is the expectation over the orders of equally distant images"),
            ("queries per second", "search of the ten nearest packed codes, without encoding"),
        ],
    )
