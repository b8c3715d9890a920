# SPDX-License-Identifier: Apache-2.0
"""What the commands share: where they print, how they show progress, how they fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

console = Console()
errors = Console(stderr=True)

# What a user's input, files or machine can cause; anything else is a defect and shows its traceback.
_USERS_ERRORS = (ValueError, OSError, MemoryError, torch.OutOfMemoryError)
_FAILED = 2


class CommandGroup(TyperGroup):
    """Commands whose foreseeable errors are one red line and exit code 2; ``--debug`` shows the traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes ``--debug`` out of the arguments, wherever it stands."""
        ctx.obj = {"debug": "--debug" in args}
        return super().parse_args(ctx, [argument for argument in args if argument != "--debug"])

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except _USERS_ERRORS as error:
            if ctx.obj["debug"]:
                raise
            errors.print(f"[bold red]Error:[/] {escape(describe(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(_FAILED) from error


def describe(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


class Move(Protocol):
    """Moves a progress bar to ``done`` of ``total``, with a note behind it."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Shows where things stand."""


@contextmanager
def progress_bar(description: str, unit: str = "images") -> Iterator[Move]:
    """A progress bar that is moved by calling what it yields; nothing shows before that."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    ) as progress:
        task = progress.add_task(description, total=None, visible=False, note="")

        def move(done: int, total: int, note: str = "") -> None:
            progress.update(task, completed=done, total=total, visible=True, note=note)

        yield move


def print_table(title: str, table: Table) -> None:
    """A table below its title, which may be wider."""
    console.print(f"[bold]{escape(title)}[/]", highlight=False)
    console.print(table)


def report_broken(broken: list[str], folder: str) -> None:
    """Names the images that were left out, and counts them."""
    if broken:
        for name in broken[:20]:
            console.print(f"[yellow]left out[/] {escape(folder)}/{escape(name)}", highlight=False)
        more = f" ({len(broken) - 20} more not shown)" if len(broken) > 20 else ""
        count = f"{len(broken)} broken image{'s' if len(broken) > 1 else ''}"
        console.print(f'[yellow]{count} left out in all{more}[/]; on_broken = "fail" refuses them instead')
