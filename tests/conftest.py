# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the device, the machine variant and the kernels under test; the report on machine variants."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

import hypothesis
import pytest
import torch

import fasthash
from fasthash import _C
from tests.kernels import Kernels
from tests.native import built, missing

# Timings never fail a test: machines are shared, and variants are forced one after the other.
hypothesis.settings.register_profile("fasthash", deadline=None)
hypothesis.settings.load_profile("fasthash")


@cache
def _cuda_on_cpu_library() -> ctypes.CDLL:
    libraries = built("tests/cuda_on_cpu/_cuda_on_cpu*.so")
    if not libraries:
        pytest.fail(missing("tests/cuda_on_cpu/_cuda_on_cpu*.so"), pytrace=False)
    torch.ops.load_library(libraries[0])
    return ctypes.CDLL(str(libraries[0]))


def _kernels(name: str) -> Kernels:
    if name.startswith("cuda_on_cpu"):
        _cuda_on_cpu_library().fasthash_set_fibre_order(name.partition("-")[2].encode())
        return Kernels(name, torch.ops.fasthash_cuda_on_cpu, "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return Kernels(name, torch.ops.fasthash, name)


CUDA_KERNELS = ["cuda", *(f"cuda_on_cpu-{order}" for order in ("ascending", "descending", "random:1"))]


@pytest.fixture(params=["cpu", *CUDA_KERNELS])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """The raw operators on the CPU, on a CUDA device, and the CUDA kernels executed by the CPU in several orders."""
    return _kernels(request.param)


@pytest.fixture(params=CUDA_KERNELS)
def cuda_kernels(request: pytest.FixtureRequest) -> Kernels:
    """The CUDA kernels, on a device and executed by the CPU in several orders."""
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
    parser.addoption("--require-aarch64", action="store_true", help="fail where the aarch64 tests cannot be run")


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
