# SPDX-License-Identifier: Apache-2.0
"""Measures on a GPU; called by bench/gpu.sh, one process per file, so that a crash costs one op.

    python -m bench.gpu environment PART              # machine, versions, limits
    python -m bench.gpu measure FILE ENVIRONMENT PART # the ops of one file, with the limits of ENVIRONMENT

Times come from events on the device, with the second-level cache flushed before each call; `wall` is the time per call
of calls in a row, which is what a host-bound call costs. With --device cpu nothing is worth believing: it is there to
try the script without a GPU.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from bench import machine, results
from bench.plan import Benchmark, Call, Case, files

FLUSH_BYTES = 1 << 28
LIMIT_BYTES = 1 << 31
PRODUCT_SIDE = 8192
MOST_CALLS = 200
LAST = "compiled"  # compiling takes longest: measured after everything else

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    commands = parser.add_subparsers(dest="command", required=True)
    environment = commands.add_parser("environment")
    environment.add_argument("output", type=Path)
    environment.add_argument("--native", type=Path, help="gpu_limits of the build: popcount and b1 product rates")
    measuring = commands.add_parser("measure")
    measuring.add_argument("file", choices=list(files()))
    measuring.add_argument("environment", type=Path)
    measuring.add_argument("output", type=Path)
    measuring.add_argument("--seconds", type=float, default=40.0, help="start no measurement after this")
    options = parser.parse_args(arguments)
    timer = DeviceTimer() if options.device == "cuda" else HostTimer()
    if options.command == "environment":
        results.write(options.output, _environment(timer, options.native))
        return 0
    limits = json.loads(options.environment.read_text())["limits"] if options.environment.exists() else []
    return _measure(files()[options.file], limits, timer, options.output, options.seconds)


class DeviceTimer:
    """Times on the current CUDA device."""

    device = "cuda"

    def __init__(self) -> None:
        self._flush = torch.ones(FLUSH_BYTES // 4, device="cuda")

    def times(self, call: Call, count: int) -> list[float]:
        """Seconds of `count` calls, each with a cold cache."""
        events = [(_event(), _event()) for _ in range(count)]
        for begin, end in events:
            self._flush.sum()  # reading leaves nothing to write back
            begin.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) * 1e-3 for begin, end in events]

    def wall(self, call: Call, count: int) -> float:
        """Seconds per call of `count` calls in a row."""
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) / count


class HostTimer:
    """The same on the CPU, to try the script."""

    device = "cpu"

    def times(self, call: Call, count: int) -> list[float]:
        """Seconds of `count` calls."""
        return [self.wall(call, 1) for _ in range(count)]

    def wall(self, call: Call, count: int) -> float:
        """Seconds per call of `count` calls in a row."""
        begin = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - begin) / count


Timer = DeviceTimer | HostTimer


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def _environment(timer: Timer, native: Path | None) -> dict[str, Any]:
    on_gpu = timer.device == "cuda"
    description = machine.gpu() if on_gpu else {**machine.cpu(), "name": f"self-test-{machine.cpu()['name']}"}
    return {
        "machine": description,
        "date": machine.date(),
        "commit": machine.commit(),
        "versions": machine.versions(),
        "settings": {"threads": [0], "rounds": 1, "quick": not on_gpu},
        "limits": _limits(timer, LIMIT_BYTES if on_gpu else 1 << 20) + (_rates(timer, native) if on_gpu else []),
    }


def _limits(timer: Timer, size: int) -> list[Row]:
    """Bandwidth of a large copy, read and written bytes both counted, and of a large read."""
    source = torch.rand(size // 8, device=timer.device)
    target, both = torch.empty_like(source), torch.rand(size // 4, device=timer.device)
    calls = {"copy": lambda: target.copy_(source), "read": both.sum}
    limits = []
    for name, call in calls.items():
        timer.times(call, 3)
        rate = size / median(timer.times(call, 20))
        limits.append({"name": name, "threads": 0, "bytes": size, "per_second": rate})
    return limits


def _rates(timer: Timer, native: Path | None) -> list[Row]:
    """Popcounts, comparisons and products of bits by the program `gpu_limits`; int8 and bfloat16 products by torch."""
    limits = []
    if native is not None and native.exists():
        told = subprocess.run([native], capture_output=True, text=True, timeout=60, check=False)
        if told.returncode != 0:
            print(f"failed: {native}: {told.stderr.strip()}", file=sys.stderr)
        limits += [json.loads(line) for line in told.stdout.splitlines()]
    for name, multiply, dtype in (("int8 product", torch._int_mm, torch.int8), ("bfloat16 product", torch.mm, None)):
        factor = torch.ones(PRODUCT_SIDE, PRODUCT_SIDE, device=timer.device, dtype=dtype or torch.bfloat16)
        call = functools.partial(multiply, factor, factor)
        timer.times(call, 3)
        rate = 2 * PRODUCT_SIDE**3 / median(timer.times(call, 10))
        limits.append({"name": name, "threads": 0, "unit": "operations", "per_second": rate})
    return limits


def _measure(benchmarks: list[Benchmark], limits: list[Row], timer: Timer, output: Path, seconds: float) -> int:
    """Measures until the time is up, and writes after each row what there is; 1 when fasthash failed somewhere."""
    measurements: list[Row] = []
    missing: list[Row] = []
    end = time.monotonic() + seconds
    for benchmark, library, case in _order(benchmarks, timer.device):
        entry = {"op": benchmark.name, "library": library, "case": dict(case.values)}
        if time.monotonic() > end:
            missing.append({**entry, "reason": "no time left"})
            continue
        try:
            measurements.append(_row(benchmark, library, case, timer))
        except Exception as error:  # whatever it is, the other rows are still wanted
            missing.append({**entry, "reason": f"{type(error).__name__}: {str(error)[:300]}"})
            print(f"failed: {entry}: {error}", file=sys.stderr)
        torch.cuda.empty_cache()
        results.write(output, {"rows": results.rows_of(measurements, limits), "missing": missing})
    results.write(output, {"rows": results.rows_of(measurements, limits), "missing": missing})
    return int(any(row["library"] == "fasthash" and row["reason"] != "no time left" for row in missing))


def _order(benchmarks: list[Benchmark], device: str) -> Iterator[tuple[Benchmark, str, Case]]:
    """Ours first, what has to be compiled last."""
    names = dict.fromkeys(itertools.chain.from_iterable(benchmark.libraries for benchmark in benchmarks))
    for library in sorted(names, key=lambda name: (name == LAST, name != "fasthash")):
        for benchmark in benchmarks:
            for case in benchmark.selected(library, device, quick=device == "cpu"):
                yield benchmark, library, case


def _row(benchmark: Benchmark, library: str, case: Case, timer: Timer) -> Row:
    call = benchmark.libraries[library].prepare(case.values, timer.device)
    check = benchmark.check(call())
    once = timer.wall(call, 1)
    if once < 0.5:
        once = timer.wall(call, 3)
    count = min(MOST_CALLS, max(1, int(0.1 / once)))
    times = timer.times(call, count)
    row = {"op": benchmark.name, "case": dict(case.values), "library": library, "threads": 0, "calls": count}
    row |= {"unit": benchmark.unit, "bytes": case.bytes, "work": case.work, "limit": case.limit}
    row |= {"headline": case.headline, "tolerance": benchmark.tolerance, "check": check}
    spread = quantiles(times, n=4) if count > 1 else [times[0]] * 3
    row |= {"median": median(times), "min": min(times), "iqr": spread[2] - spread[0]}
    row["wall"] = timer.wall(call, count)
    print(f"{benchmark.name:24} {library:10} {row['median'] * 1e6:12.1f} us  {case.text}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
