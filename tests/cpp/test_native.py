# SPDX-License-Identifier: Apache-2.0
"""Every native test is one pytest item: the tests that each executable lists, run one at a time."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALWAYS = ("core_tests", "cuda_on_cpu_tests", "cuda_on_cpu_tests_asan")
WITH_NVCC = ("cuda_device_tests",)
NO_DEVICE = 77
HOW_TO_BUILD = "cmake -S . -B build -DFASTHASH_TESTS=ON && cmake --build build --parallel"


def build_folders() -> list[Path]:
    """The folders to look in: FASTHASH_BUILD_DIR alone when it is set, else CMake's by hand and setup.py's."""
    if chosen := os.environ.get("FASTHASH_BUILD_DIR"):
        return [Path(chosen)]
    return [ROOT / "build", ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"]


def find(executable: str) -> Path | None:
    """The newest build of an executable, None without one."""
    found = [path for folder in build_folders() if (path := folder / "tests" / executable).is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def native_tests() -> list[Any]:
    """One (executable, test name) per native test; the name is None where nothing can be listed."""
    items = []
    for executable in ALWAYS + WITH_NVCC:
        path = find(executable)
        if path is None and executable in WITH_NVCC:
            continue
        listed = path and subprocess.run([path, "--list"], capture_output=True, text=True, timeout=60)
        names = listed.stdout.split() if listed and listed.returncode == 0 else [None]
        items += [pytest.param(executable, name, id=f"{executable}-{name or 'missing'}") for name in names]
    return items


@pytest.mark.parametrize(("executable", "name"), native_tests())
def test_native(executable: str, name: str | None) -> None:
    path = find(executable)
    looked = ", ".join(str(folder / "tests") for folder in build_folders())
    if path is None:
        pytest.fail(f"{executable} is not in {looked}. Build it: {HOW_TO_BUILD}", pytrace=False)
    if name is None:
        pytest.fail(f"{path} --list failed. Build it again: {HOW_TO_BUILD}", pytrace=False)
    run = subprocess.run([path, "--run", name], capture_output=True, text=True, errors="replace", timeout=300)
    if run.returncode == NO_DEVICE:
        pytest.skip(run.stdout.strip())
    if run.returncode != 0:
        pytest.fail(f"{path} --run {name}: exit status {run.returncode}\n{run.stdout}{run.stderr}", pytrace=False)
