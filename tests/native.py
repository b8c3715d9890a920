# SPDX-License-Identifier: Apache-2.0
"""Where CMake built the native tests and libraries."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOW_TO_BUILD = "cmake -S . -B build -DFASTHASH_TESTS=ON && cmake --build build --parallel"


def build_folders() -> list[Path]:
    """The folders to look in: FASTHASH_BUILD_DIR alone when it is set, else CMake's by hand and setup.py's."""
    if chosen := os.environ.get("FASTHASH_BUILD_DIR"):
        return [Path(chosen)]
    return [ROOT / "build", ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"]


def built(pattern: str) -> list[Path]:
    """The files of that name in the newest build that has any."""
    found = [files for folder in build_folders() if (files := sorted(folder.glob(pattern)))]
    return max(found, key=lambda files: max(file.stat().st_mtime for file in files), default=[])


def missing(what: str) -> str:
    return f"{what} is not in {', '.join(map(str, build_folders()))}. Build it: {HOW_TO_BUILD}"
