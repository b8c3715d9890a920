# SPDX-License-Identifier: Apache-2.0
"""``fasthash demo``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fasthash.cli.console import console, print_table, progress_bar
from fasthash.demo import demo_config, run_demo
from fasthash.report import Method, save_picture, write_report
from fasthash.training.log import Record


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The report, one HTML file.")] = Path("report.html"),
    bits: Annotated[int, typer.Option(min=1, help="Code length.")] = 32,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Decides queries, weights and batches.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    figure: Annotated[Path | None, typer.Option(help="Also write a PNG with examples and curve.")] = None,
) -> None:
    """Train, encode, index, search and compare on handwritten digits, in well under two minutes.

    Nothing is downloaded: the images come with scikit-learn.

    **Example:** `fasthash demo --out report.html`
    """
    began = time.perf_counter()
    with progress_bar("Training on handwritten digits", "steps") as move:

        def show(step: int, steps: int, record: Record | None) -> None:
            move(step, steps, "" if record is None else f"loss {record['loss']:.3g}")

        report = run_demo(demo_config(bits, epochs, seed, device), show)
    print_table(f"{bits}-bit codes; queries held out, database = training images", scores_table(report.methods))
    write_report(report, out)
    console.print(f"Report with pictures and curves: {out}", highlight=False, soft_wrap=True)
    if figure is not None:
        save_picture(report, figure)
        console.print(f"Picture: {figure}", highlight=False, soft_wrap=True)
    console.print(f"All in {time.perf_counter() - began:.0f} s.", highlight=False)


def scores_table(methods: Sequence[Method]) -> Table:
    """Quality and speed of each method, one row each."""
    table = Table()
    table.add_column("codes", no_wrap=True)
    for name in ("mAP", "precision@10", "precision within radius 2", "queries per second"):
        table.add_column(name, justify="right")
    for number, method in enumerate(methods):
        table.add_row(
            method.name,
            f"{method.scores.mean_average_precision:.4f}",
            f"{method.scores.precision_at_10:.4f}",
            f"{method.scores.precision_within_radius_2:.4f}",
            f"{method.queries_per_second:,.0f}",
            style="bold" if number == 0 else None,
        )
    return table
