# SPDX-License-Identifier: Apache-2.0
"""Name and description of the machine, versions and commit: what a result file says of its origin."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "torch",
    "numpy",
    "faiss-cpu",
    "usearch",
    "pytorch-metric-learning",
    "sentence-transformers",
    "pytest-benchmark",
    "triton",
)


def slug(text: str) -> str:
    """Lower case, everything but letters and digits a single hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def cpu_model() -> str:
    """The processor as the kernel names it, with its family and model where the name has no number."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name", platform.machine())
    numbered = any(letter.isdigit() for letter in name) or not {"cpu family", "model"} <= fields.keys()
    return name if numbered else f"{name} family {fields['cpu family']} model {fields['model']}"


def usable_cores() -> list[int]:
    """The cores that this process may use; none where threads cannot be bound to them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def commit() -> dict[str, Any]:
    """The commit measured, and whether the sources differ from it.

    A copy without its repository is told the commit by FASTHASH_COMMIT.
    """
    if given := os.environ.get("FASTHASH_COMMIT"):
        return {"id": given, "changed": None}
    changes = _git("status", "--porcelain", "--", "csrc", "cmake", "CMakeLists.txt", "fasthash", "bench/*.py")
    return {"id": _git("rev-parse", "HEAD"), "changed": None if changes is None else bool(changes)}


def versions() -> dict[str, str]:
    """Versions of fasthash, Python and the libraries compared."""
    import fasthash

    found = {"fasthash": fasthash.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def date() -> str:
    """Now, in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def cpu() -> dict[str, Any]:
    """The CPU and the variant of the kernels in use; both make the name."""
    import fasthash

    info = fasthash.build_info()
    variant = info["machines"]["in_use"]
    described = {"cpu": cpu_model(), "cores": os.cpu_count(), "variant": variant, "gpu": None}
    compiler = info["versions"]["compiler"]
    return {"name": f"{slug(cpu_model())}-{slug(variant)}", **described, "compiler": compiler}


def gpu() -> dict[str, Any]:
    """The first GPU, as torch sees it."""
    import torch

    import fasthash

    properties = torch.cuda.get_device_properties(0)
    info = fasthash.build_info()["cuda"]
    return {
        "name": slug(properties.name),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "driver": info["driver"],
        "architectures": info["architectures"],
    }
