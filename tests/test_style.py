# SPDX-License-Identifier: Apache-2.0
"""Lint and formatting, one test per tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CPP_SUFFIXES = {".h", ".cuh", ".cpp", ".cu"}


def sources(*suffixes: str) -> list[str]:
    folders = ("csrc", "fasthash", "tests", "bench")
    return [str(p) for f in folders for p in sorted((ROOT / f).rglob("*")) if p.suffix in suffixes]


def run(*command: str) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        pytest.fail(f"{' '.join(command[:3])}:\n{result.stdout}{result.stderr}", pytrace=False)


def test_ruff_check():
    run("ruff", "check", ".")


def test_ruff_format():
    run("ruff", "format", "--check", ".")


def test_mypy():
    run("mypy")


def test_clang_format():
    files = sources(*CPP_SUFFIXES)
    assert files
    result = subprocess.run(
        [Path(sys.executable).parent / "clang-format", "--dry-run", "--Werror", *files], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_every_source_names_its_licence():
    files = sources(".py", ".pyi", ".sh", *CPP_SUFFIXES)
    missing = [f for f in files if "SPDX-License-Identifier: Apache-2.0" not in Path(f).read_text()[:200]]
    assert missing == []


def test_no_file_is_long():
    long = [f for f in sources(".py", *CPP_SUFFIXES) if len(Path(f).read_text().splitlines()) > 400]
    assert long == []
