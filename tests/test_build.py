# SPDX-License-Identifier: Apache-2.0
"""What the build promises: facts, forced machines, symbols, threads, schemas."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import fasthash
from fasthash import _C
from tests.native import ROOT, built, missing


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


def test_build_info_tells_versions_machines_and_cuda():
    info = fasthash.build_info()
    assert info["versions"]["torch"] == torch.__version__
    assert info["machines"]["in_use"] in info["machines"]["available"]
    assert info["threads"] == torch.get_num_threads()
    assert (info["cuda"]["device"] is None) == (info["cuda"]["why_not"] is not None)
    assert info["cuda"]["compiled"] == bool(info["cuda"]["architectures"])


@pytest.mark.parametrize("name", _C.machines_available())
def test_environment_forces_a_machine(name):
    result = python("import fasthash; print(fasthash.build_info()['machines']['in_use'])", FASTHASH_ISA=name)
    assert result.stdout.strip() == name, result.stderr


def test_unknown_machine_is_an_error():
    result = python("import fasthash", FASTHASH_ISA="avx1024")
    assert result.returncode != 0
    assert "FASTHASH_ISA: machine must be one of scalar" in result.stderr
    assert "got 'avx1024'" in result.stderr
    with pytest.raises(ValueError, match="force_machine: machine must be one of scalar"):
        _C.force_machine("sse9")


def test_instruction_set_objects_export_no_weak_symbols():
    """A weak function compiled for AVX-512 could be the copy that the linker gives to everybody."""
    patterns = [f"CMakeFiles/fasthash_core.dir/csrc/kernels/*/*_{m}.cpp.o" for m in _C.machines_compiled()[1:]]
    for pattern in patterns:
        assert built(pattern), missing(pattern)
    for path in [path for pattern in patterns for path in built(pattern)]:
        symbols = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True).stdout
        weak = [line for line in symbols.splitlines() if re.match(r"^[0-9a-f]+ [WVu] ", line)]
        assert weak == [], f"{path.name}: {weak}"


def _busy_threads(before: dict[str, float], after: dict[str, float], seconds: float) -> int:
    return sum(after[t] - before.get(t, 0.0) > seconds for t in after)


def _thread_seconds() -> dict[str, float]:
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        seconds[task.name] = int(fields[11]) / ticks
    return seconds


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_bindings_use_more_than_one_thread(threads):
    threads(2)
    z = torch.randn(20_000, 64)
    fasthash.tanh_quantize(z)
    before, end = _thread_seconds(), time.monotonic() + 1.0
    while time.monotonic() < end:
        fasthash.tanh_quantize(z)
    assert _busy_threads(before, _thread_seconds(), 0.1) >= 2


def test_numpy_door_releases_the_gil():
    """A Python thread makes progress while a kernel runs."""
    code = """
import sys, threading, time, numpy as np, torch
from fasthash import _C
torch.set_num_threads(1)
sys.setswitchinterval(1e-4)
ticks = []
stop = threading.Event()
def tick():
    while not stop.is_set():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
z = np.random.randn(6_000_000).astype(np.float64).reshape(-1, 64)[:, :60]
thread = threading.Thread(target=tick); thread.start()
begin = time.perf_counter()
_C.tanh_quantize(z, penalty=3)
end = time.perf_counter()
stop.set(); thread.join()
inside = sum(begin < t < end for t in ticks)
print(inside, end - begin)
assert inside >= 5, (inside, end - begin)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_schemas_are_frozen():
    """Changing a schema breaks saved graphs: do it on purpose, with a changelog line, and rewrite the snapshot."""
    registered = sorted(
        str(schema) for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("fasthash::")
    )
    snapshot = Path(__file__).with_name("schemas.txt")
    assert registered == snapshot.read_text().splitlines()
