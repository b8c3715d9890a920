# SPDX-License-Identifier: Apache-2.0
"""``fasthash info``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

import fasthash
from fasthash.cli.console import console


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Show versions, the machine variants of the kernels, threads, and what there is of CUDA.

    **Example:** `fasthash info`
    """
    facts = fasthash.build_info()
    if as_json:
        console.print_json(json.dumps(facts, default=str))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows("", facts):
        table.add_row(escape(name), escape(value))
    console.print(table)


def _rows(prefix: str, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One line for each fact; tables inside become lines named ``outer inner``."""
    rows = []
    for key, value in facts.items():
        name = f"{prefix} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            rows += _rows(name, value)
        else:
            rows.append((name, _words(value)))
    return rows


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value) or "none"
    return "none" if value is None else str(value)
