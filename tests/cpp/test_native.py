# SPDX-License-Identifier: Apache-2.0
"""Every native test is one pytest item: the tests that each executable lists, run one at a time."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.native import HOW_TO_BUILD, built, missing

ALWAYS = ("core_tests", "fuzz_tests", "cuda_on_cpu_tests", "cuda_on_cpu_tests_asan")
WITH_NVCC = ("cuda_device_tests",)
AARCH64 = ("aarch64/core_tests", "aarch64/fuzz_tests") if platform.machine() not in ("aarch64", "arm64") else ()
NO_DEVICE = 77
QEMU = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
QEMU_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0"}  # the leak detector traces its process, which qemu refuses
FEWER = {"aarch64/fuzz_tests": ("--cases", "200")}
CROSS_TOOLS = ("aarch64-linux-gnu-g++", QEMU[0])


def find(executable: str) -> Path | None:
    """The newest build of an executable, None without one."""
    folder, _, name = executable.rpartition("/")
    return next(iter(built(f"{folder or '.'}/tests/{name}")), None)


def command(executable: str, *arguments: str) -> list[str]:
    runner = QEMU if executable in AARCH64 else ()
    return [*runner, str(find(executable)), *FEWER.get(executable, ()), *arguments]


def run(executable: str, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(QEMU_ENVIRONMENT if executable in AARCH64 else {})}
    return subprocess.run(
        command(executable, *arguments),
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
    )


def missing_tools(executable: str) -> str | None:
    lacking = [tool for tool in CROSS_TOOLS if executable in AARCH64 and not shutil.which(tool)]
    return f"no {' and no '.join(lacking)} (Debian: apt install g++-aarch64-linux-gnu qemu-user)" if lacking else None


def names(executable: str) -> list[str | None]:
    """The tests of an executable, [None] where nothing can be listed."""
    if missing_tools(executable) or not find(executable):
        return [None]
    listed = run(executable, "--list", timeout=60)
    return [*listed.stdout.split()] if listed.returncode == 0 else [None]


def native_tests() -> list[Any]:
    executables = [*ALWAYS, *(e for e in WITH_NVCC if find(e)), *AARCH64]
    return [pytest.param(e, name, id=f"{e}-{name or 'missing'}") for e in executables for name in names(e)]


@pytest.mark.parametrize(("executable", "name"), native_tests())
def test_native(request: pytest.FixtureRequest, executable: str, name: str | None) -> None:
    if why := missing_tools(executable):
        if request.config.getoption("--require-aarch64"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    if find(executable) is None:
        pytest.fail(missing(executable), pytrace=False)
    if name is None:
        pytest.fail(f"{find(executable)} --list failed. Build it again: {HOW_TO_BUILD}", pytrace=False)
    done = run(executable, "--run", name, timeout=300)
    if done.returncode == NO_DEVICE:
        pytest.skip(done.stdout.strip())
    if done.returncode != 0:
        shown = f"{' '.join(done.args)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
        pytest.fail(shown, pytrace=False)
