# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the device, the machine variant and the kernels under test; the report on machine variants."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import fasthash
from fasthash import _C

ROOT = Path(__file__).resolve().parent.parent


def build_dir() -> Path:
    """Where CMake built the native tests; FASTHASH_BUILD_DIR overrides."""
    default = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
    return Path(os.environ.get("FASTHASH_BUILD_DIR", default))


@dataclass(frozen=True)
class Kernels:
    """One way to run the raw operators: `kernels.ops.<op>(...)` on tensors of `kernels.device`."""

    name: str
    ops: Any
    device: str

    def __repr__(self) -> str:
        return self.name


def _cuda_on_cpu() -> Kernels:
    libraries = sorted(build_dir().glob("tests/cuda_on_cpu/_cuda_on_cpu*.so"))
    if not libraries:
        pytest.fail(f"no _cuda_on_cpu library in {build_dir()}: build with CMAKE_ARGS=-DFASTHASH_TESTS=ON (make build)")
    torch.ops.load_library(libraries[0])
    return Kernels("cuda_on_cpu", torch.ops.fasthash_cuda_on_cpu, "cpu")


def _kernels(name: str) -> Kernels:
    if name == "cuda_on_cpu":
        return _cuda_on_cpu()
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return Kernels(name, torch.ops.fasthash, name)


@pytest.fixture(params=["cpu", "cuda", "cuda_on_cpu"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """The raw operators on the CPU, on a CUDA device, and the CUDA kernels executed by the CPU."""
    return _kernels(request.param)


@pytest.fixture(params=["cuda", "cuda_on_cpu"])
def cuda_kernels(request: pytest.FixtureRequest) -> Kernels:
    """The CUDA kernels, on a device and executed by the CPU."""
    return _kernels(request.param)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Every device a public operator runs on."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return str(request.param)


@pytest.fixture(params=_C.machines_compiled())
def machine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Forces each machine variant of the CPU kernels in turn."""
    if request.param not in _C.machines_available():
        pytest.skip(f"this processor has no {request.param}")
    _C.force_machine(request.param)
    yield request.param
    _C.force_machine("")


@pytest.fixture
def threads() -> Iterator[Any]:
    """Sets torch's number of threads, and sets it back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-variants", action="store_true", help="fail where a machine variant was never run")


def _variant_lines() -> tuple[list[str], list[str]]:
    available = _C.machines_available()
    lines, missing = [], []
    for kernel, counts in sorted(_C.variant_counts().items()):
        shown = ", ".join(f"{m} {n}" if m in available else f"{m} not on this machine" for m, n in counts.items())
        lines.append(f"{kernel}: {shown}")
        missing += [f"{kernel}/{m}" for m, n in counts.items() if m in available and n == 0]
    return lines, missing


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines, missing = _variant_lines()
    terminalreporter.section(f"runs per machine variant, fasthash {fasthash.__version__}")
    for line in lines:
        terminalreporter.line(line)
    if missing:
        terminalreporter.line("never run: " + ", ".join(missing), red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.getoption("--require-variants") and _variant_lines()[1] and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
