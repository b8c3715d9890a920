# SPDX-License-Identifier: Apache-2.0
"""The command line: ``fasthash demo | info | train | encode | search | evaluate``."""

from __future__ import annotations

import importlib.util
import sys

_NEEDED = ("typer", "rich", "matplotlib", "PIL", "sklearn", "tomli_w")


def main() -> None:
    """Runs the command line; without its libraries, says in one line how to get them and exits with 2."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"The command line needs {', '.join(missing)}: pip install 'fasthash[train]'", file=sys.stderr)
        raise SystemExit(2)
    from fasthash.cli.app import app

    app(prog_name="fasthash")
