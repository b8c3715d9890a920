# SPDX-License-Identifier: Apache-2.0
"""The commands in one application, and what becomes of an error."""

from __future__ import annotations

from typing import Annotated

import typer

import fasthash
from fasthash.cli.console import CommandGroup
from fasthash.cli.demo import demo
from fasthash.cli.encode import encode
from fasthash.cli.evaluate import evaluate
from fasthash.cli.info import info
from fasthash.cli.search import search
from fasthash.cli.train import train


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(fasthash.__version__)
        raise typer.Exit


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug, anywhere on the line, shows the traceback of an error.",
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Binary hash codes for images: train, encode, search, evaluate."""


for command in (demo, info, train, encode, search, evaluate):
    app.command()(command)
