# SPDX-License-Identifier: Apache-2.0
"""Runs one pytest-benchmark process per file and library, in turn, over several rounds; a quick run is one process.

Libraries never share a process: the idle OpenMP threads of one spin and slow another. Rounds go through the libraries
in turn, each round beginning with another one, so that a machine that drifts does not favour one of them.

OpenMP threads are bound to cores of their own, in every process alike: left alone, two of them were seen to share one
core for seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.inputs import CACHE
from bench.machine import ROOT
from bench.plan import Benchmark, nodes_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    threads: Sequence[int]
    rounds: int
    seconds: float
    quick: bool = False
    timeout: float = 900.0


@dataclass(frozen=True)
class Job:
    """One process: one library of one file, or all of all files.

    Attributes:
        tests: what pytest is to run, where that is not all of the files.
        environment: variables of its own.
        once: part of the first round alone, for all its cases are slow.
    """

    files: tuple[str, ...]
    library: str
    environment: tuple[tuple[str, str], ...] = ()
    once: bool = False
    tests: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """As shown and used for file names."""
        return f"{self.files[0] if len(self.files) == 1 else 'all'} {self.library}"

    def command(self, options: Options, output: Path, without_slow: bool) -> list[str]:
        """The pytest command that leaves its measurements in `output`."""
        tests = self.tests or tuple(f"bench/bench_{file}.py" for file in self.files)
        command = [sys.executable, "-m", "pytest", *tests]
        command += ["-q", "-p", "no:cacheprovider"]
        command += [
            "-W",
            "default",
            "--benchmark-disable-gc",
            "--benchmark-columns=median",
            f"--library={self.library}",
        ]
        command += [f"--benchmark-json={output}", f"--seconds={options.seconds}"]
        command += ["--threads", ",".join(map(str, options.threads))]
        return command + ["--quick"] * options.quick + ["--without-slow"] * without_slow


@dataclass
class Outcome:
    """What all processes brought."""

    measurements: list[Row] = field(default_factory=list)
    missing: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def jobs(files: dict[str, list[Benchmark]], quick: bool) -> tuple[list[Job], list[Row]]:
    """The processes of a round, and what is left out because a library is not there."""
    found: dict[tuple[str, str], Job] = {}
    missing = []
    for file, benchmarks in files.items():
        for benchmark in benchmarks:
            for name, library in benchmark.libraries.items():
                cases = benchmark.selected(name, "cpu", quick)
                if not cases:
                    continue
                if reason := library.missing():
                    missing.append({"op": benchmark.name, "library": name, "reason": reason})
                    continue
                once = all(library.slow(case, "cpu") for case in cases)
                before = found.get((file, name))
                once = once and (before is None or before.once)
                tests = tuple(nodes_of(file, benchmarks))
                found[file, name] = Job((file,), name, tuple(library.environment.items()), once, tests)
    if quick:
        tests = tuple(test for file, benchmarks in files.items() for test in nodes_of(file, benchmarks))
        return [Job(tuple(files), "all", tests=tests)], missing
    return list(found.values()), missing


def schedule(all_jobs: Sequence[Job], rounds: int) -> Iterator[tuple[int, Job]]:
    """File by file, and within a file round by round: what is compared lies close together in time."""
    for files in dict.fromkeys(job.files for job in all_jobs):
        same = [job for job in all_jobs if job.files == files]
        for number in range(rounds):
            start = number % len(same)
            yield from ((number, job) for job in same[start:] + same[:start] if number == 0 or not job.once)


def run(files: dict[str, list[Benchmark]], options: Options, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Runs every job in every round."""
    all_jobs, missing = jobs(files, options.quick)
    outcome = Outcome(missing=missing)
    for number, job in schedule(all_jobs, options.rounds):
        begin = time.monotonic()
        failures = len(outcome.failures)
        _run_job(job, options, folder / f"{job.name} {number}.json", number > 0, outcome)
        state = "failed" if len(outcome.failures) > failures else "ok"
        seconds = time.monotonic() - begin
        say(f"round {number + 1}/{options.rounds}  {job.name:36} {seconds:6.1f} s  {state}")
    return outcome


def _bound(threads: int) -> dict[str, str]:
    """What binds each OpenMP thread to a core, where there are enough cores."""
    if threads > len(machine.usable_cores()):
        return {}
    return {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores", "OMP_DYNAMIC": "false"}


def _run_job(job: Job, options: Options, output: Path, without_slow: bool, outcome: Outcome) -> None:
    command = job.command(options, output, without_slow)
    told = {**os.environ, **_bound(max(options.threads)), CACHE: str(output.parent), **dict(job.environment)}
    try:
        result = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        outcome.failures.append(f"{job.name}: not done after {options.timeout:.0f} s")
        return
    if result.returncode not in (0, 5):  # 5: nothing left to measure
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-25:])
        outcome.failures.append(f"{job.name}: exit status {result.returncode}\n{tail}")
    if output.exists() and output.stat().st_size > 0:
        outcome.measurements += [measurement(entry) for entry in json.loads(output.read_text())["benchmarks"]]


def measurement(entry: dict[str, Any]) -> Row:
    """A measurement from one entry of pytest-benchmark's file."""
    stats = entry["stats"]
    times = {name: stats[name] for name in ("median", "iqr", "min")}
    return {**entry["extra_info"], **times, "calls": stats["rounds"] * stats["iterations"]}
