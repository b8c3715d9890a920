# SPDX-License-Identifier: Apache-2.0
"""What this installation of fasthash is and what it can use."""

from __future__ import annotations

import platform
from typing import TypedDict

import numpy as np
import torch

from fasthash._library import _C
from fasthash._version import __version__


class Versions(TypedDict):
    """Versions of what takes part."""

    fasthash: str
    torch: str
    torch_built_with: str
    numpy: str
    python: str
    compiler: str


class Machines(TypedDict):
    """Instruction-set variants of the CPU kernels."""

    compiled: list[str]
    available: list[str]
    in_use: str


class Cuda(TypedDict):
    """The CUDA kernels inside, and the GPU they would run on."""

    compiled: bool
    compiler: str | None
    architectures: list[str]
    torch: str | None
    driver: str | None
    device: str | None
    why_not: str | None


class BuildInfo(TypedDict):
    """The result of `build_info`."""

    versions: Versions
    machines: Machines
    threads: int
    cuda: Cuda


def build_info() -> BuildInfo:
    """Versions, machine variants, threads and CUDA state of this installation.

    Returns:
        A dictionary: `versions`; `machines` (variants compiled, available on this processor, in use; the environment
        variable FASTHASH_ISA forces one); `threads` (torch's, which the kernels use); `cuda` (whether kernels are
        compiled in, for which architectures, the device seen, or `why_not`). Starts nothing on a GPU.
    """
    facts = _C.build_facts()
    return {
        "versions": {
            "fasthash": __version__,
            "torch": torch.__version__,
            "torch_built_with": facts["torch_built_with"],
            "numpy": np.__version__,
            "python": platform.python_version(),
            "compiler": facts["compiler"],
        },
        "machines": {
            "compiled": _C.machines_compiled(),
            "available": _C.machines_available(),
            "in_use": _C.machine_in_use(),
        },
        "threads": torch.get_num_threads(),
        "cuda": _cuda(facts["cuda_compiler"], facts["cuda_architectures"].split()),
    }


def _cuda(compiler: str | None, architectures: list[str]) -> Cuda:
    driver = _C.cuda_driver_version()
    why_not = _why_no_cuda(compiler, driver)
    return {
        "compiled": compiler is not None,
        "compiler": compiler,
        "architectures": architectures,
        "torch": torch.version.cuda,
        "driver": f"{driver // 1000}.{driver % 1000 // 10}" if driver else None,
        "device": None if why_not else torch.cuda.get_device_name(),
        "why_not": why_not,
    }


def _why_no_cuda(compiler: str | None, driver: int) -> str | None:
    if compiler is None:
        return "fasthash was built without CUDA kernels: nvcc was not found when it was built"
    if torch.version.cuda is None:
        return "this torch is a CPU build"
    if not driver:
        return "no NVIDIA driver was found"
    if driver // 1000 < int(compiler.split(".")[0]):
        needed = compiler.split(".")[0]
        return (
            f"the NVIDIA driver serves CUDA {driver // 1000}; these kernels need CUDA {needed} (driver 580 for CUDA 13)"
        )
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return None
