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
    table = Table(show_header=False, box=None, padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(facts):
        table.add_row(name, escape(value))
    console.print(table)


def _rows(facts: Mapping[str, Any], depth: int = 0) -> list[tuple[str, str]]:
    """One line for each fact; a table inside becomes a heading with its facts indented below."""
    rows = []
    for key, value in facts.items():
        name = "  " * depth + escape(key.replace("_", " "))
        if isinstance(value, Mapping):
            rows += [(f"[bold]{name}[/]", ""), *_rows(value, depth + 1)]
        else:
            rows.append((name, _words(value)))
    return rows


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value) or "none"
    return "none" if value is None else str(value)
